"""Radiographs under the maps of student and teacher, for the benchmark's page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.overlay.overlay import draw_heat_map, to_png
from orthoedge.runtime.preprocess import Pixels

_SEED = 0
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class GalleryItem:
    """One radiograph of the gallery. Pictures are PNG of S×S pixels, lesion boxes in white."""

    truth: str
    """Its label."""
    student: str
    """The label that the student predicts."""
    teacher: str
    """The label that the reference predicts; empty: there is none."""
    plain: bytes
    """The input of both."""
    student_map: bytes
    """The same under the student's map of its predicted label."""
    teacher_map: bytes | None
    """The same under the reference's."""


def draw_gallery(
    bundle: Bundle, prepared: Prepared, student: Outputs, reference: Outputs | None, count: int = 8
) -> tuple[GalleryItem, ...]:
    """Draw radiographs at random: a right prediction of each label, then a wrong one, and so on.

    At most `count`, with the outputs of the float32 ensemble as `reference` where there is one.
    """
    labels = bundle.manifest.labels
    predicted = student.logits.argmax(axis=1)
    reference_labels = None if reference is None else reference.logits.argmax(axis=1)
    shown = []
    for index in _chosen(prepared.truth, predicted)[:count]:
        model_input, boxes = prepared.model_inputs[index], prepared.boxes[index]
        shown.append(
            GalleryItem(
                truth=labels[prepared.truth[index]],
                student=labels[predicted[index]],
                teacher="" if reference_labels is None else labels[reference_labels[index]],
                plain=_marked(model_input.copy(), boxes),
                student_map=_under_map(model_input, student, index, boxes),
                teacher_map=None
                if reference is None
                else _under_map(model_input, reference, index, boxes),
            )
        )
    return tuple(shown)


def _chosen(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> list[int]:
    """All images: a right one of each label, then a wrong one of each, and so on."""
    shuffled = np.random.default_rng(_SEED).permutation(len(truth))
    queues = [
        shuffled[(truth[shuffled] == label) & ((predicted == truth)[shuffled] == right)].tolist()
        for right in (True, False)
        for label in np.unique(truth)
    ]
    return [index for group in zip_longest(*queues) for index in group if index is not None]


def _under_map(model_input: Pixels, outputs: Outputs, index: int, boxes: tuple[Box, ...]) -> bytes:
    label = int(outputs.logits[index].argmax())
    return _marked(draw_heat_map(model_input, outputs.saliency_map[index, label]), boxes)


def _marked(picture: npt.NDArray[np.uint8], boxes: tuple[Box, ...]) -> bytes:
    """PNG of a picture, grey or BGR, with boxes drawn on it."""
    size = len(picture)
    for box in boxes:
        x0, y0, x1, y1 = (min(size - 1, round(edge * size)) for edge in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), _WHITE, 1)
    return to_png(picture)
