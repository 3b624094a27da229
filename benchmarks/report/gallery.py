"""Radiographs under the maps of the student and of its teacher, for the benchmark's page."""

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
    """What the student says."""
    teacher: str
    """What the reference says; empty: there is none."""
    plain: bytes
    """What both see."""
    student_map: bytes
    """The same under the student's map of the label it says."""
    teacher_map: bytes | None
    """The same under the reference's."""


def draw_gallery(
    bundle: Bundle,
    prepared: Prepared,
    student: Outputs,
    reference: Outputs | None,
    count: int = 8,
) -> tuple[GalleryItem, ...]:
    """Draw radiographs by chance: a right answer of each label, then a wrong one, and so on.

    Args:
        bundle: names of the labels.
        prepared: of `prepare`.
        student: its answers to them.
        reference: the float32 ensemble's; None: there is none.
        count: how many, where there are so many.
    """
    labels = bundle.manifest.labels
    said = student.logits.argmax(axis=1)
    wanted = None if reference is None else reference.logits.argmax(axis=1)
    shown = []
    for index in _chosen(prepared.truth, said)[:count]:
        square, boxes = prepared.model_inputs[index], prepared.boxes[index]
        shown.append(
            GalleryItem(
                truth=labels[prepared.truth[index]],
                student=labels[said[index]],
                teacher="" if wanted is None else labels[wanted[index]],
                plain=_marked(square.copy(), boxes),
                student_map=_under_map(square, student, index, boxes),
                teacher_map=None
                if reference is None
                else _under_map(square, reference, index, boxes),
            )
        )
    return tuple(shown)


def _chosen(truth: npt.NDArray[np.int64], said: npt.NDArray[np.int64]) -> list[int]:
    """All images: of each label one that is right, then of each one that is wrong, in turns."""
    shuffled = np.random.default_rng(_SEED).permutation(len(truth))
    queues = [
        shuffled[(truth[shuffled] == label) & ((said == truth)[shuffled] == right)].tolist()
        for right in (True, False)
        for label in np.unique(truth)
    ]
    return [index for turn in zip_longest(*queues) for index in turn if index is not None]


def _under_map(square: Pixels, outputs: Outputs, index: int, boxes: tuple[Box, ...]) -> bytes:
    label = int(outputs.logits[index].argmax())
    return _marked(draw_heat_map(square, outputs.saliency_map[index, label]), boxes)


def _marked(picture: npt.NDArray[np.uint8], boxes: tuple[Box, ...]) -> bytes:
    """PNG of a picture, grey or BGR, with boxes drawn on it."""
    size = len(picture)
    for box in boxes:
        x0, y0, x1, y1 = (min(size - 1, round(edge * size)) for edge in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), _WHITE, 1)
    return to_png(picture)
