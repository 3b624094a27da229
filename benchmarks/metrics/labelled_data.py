"""Labelled radiographs, read and prepared once for all engines that are judged on them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box, boxes_in_input
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import QualityIssue, check_image_quality
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Pixels, Preprocess
from orthoedge.targets.cpu import available_cores


@dataclass(frozen=True)
class LabelledSet:
    """Radiographs and what is known of them, N of each."""

    description: str
    """What they are, for the reader, such as `600 phantoms of seed 41`."""
    images: tuple[Path | Pixels, ...]
    """Files, or radiographs uint8 (H, W)."""
    labels: tuple[str, ...]
    """The true one of each."""
    boxes: tuple[tuple[Box, ...], ...]
    """Lesions of each, as fractions of the radiograph's width and height; empty: none marked."""
    groups: tuple[str, ...]
    """Patient or examination of each: intervals draw whole groups."""


@dataclass(frozen=True)
class Prepared:
    """The same as a network sees them."""

    description: str
    """As `Labelled.description`."""
    model_inputs: Pixels
    """uint8 (N, S, S)."""
    statistics: npt.NDArray[np.float32]
    """float32 (N, L)."""
    quality_issues: tuple[tuple[QualityIssue, ...], ...]
    """What intake found wrong with each."""
    truth: npt.NDArray[np.int64]
    """(N,) indices into the bundle's labels."""
    boxes: tuple[tuple[Box, ...], ...]
    """Lesions of each, as fractions of the square; those outside the field are left out."""
    groups: tuple[str, ...]
    """As `Labelled.groups`."""


@dataclass(frozen=True)
class _One:
    """One radiograph as a network sees it."""

    square: Pixels
    statistics: npt.NDArray[np.float32]
    quality_issues: tuple[QualityIssue, ...]
    boxes: tuple[Box, ...]


def prepare(bundle: Bundle, labelled: LabelledSet) -> Prepared:
    """Take radiographs through the runtime's own intake and preprocessing.

    Raises:
        DataError: no radiograph, a label that the bundle does not know, or a label of the bundle
            that no radiograph has.
        InputError: a file is not a radiograph; the message names it.
    """
    labels = bundle.manifest.labels
    _check_labels(labelled, labels)
    read = partial(_prepare_one, bundle.manifest.preprocess)
    with ThreadPoolExecutor(available_cores(), "orthoedge") as pool:
        ready = list(pool.map(read, labelled.images, labelled.boxes))
    return Prepared(
        description=labelled.description,
        model_inputs=np.stack([one.square for one in ready]),
        statistics=np.stack([one.statistics for one in ready]),
        quality_issues=tuple(one.quality_issues for one in ready),
        truth=np.array([labels.index(label) for label in labelled.labels], np.int64),
        boxes=tuple(one.boxes for one in ready),
        groups=labelled.groups,
    )


def draw_sample(labels: Sequence[str], count: int, seed: int) -> list[int]:
    """Draw `count` radiographs in the proportions of their labels, one of each label at least.

    Args:
        labels: of each radiograph.
        count: at least as many as there are labels.
        seed: the same seed draws the same ones.

    Returns:
        Their indices in ascending order; all where there are no more than `count`.
    """
    given = np.asarray(labels)
    shuffled = np.random.default_rng(seed).permutation(len(given))
    place = np.empty(len(given))  # of each among its own label's, from 0 to 1
    for label in np.unique(given):
        own = shuffled[given[shuffled] == label]
        place[own] = np.arange(len(own)) / len(own)
    return sorted(shuffled[np.argsort(place[shuffled], kind="stable")][:count].tolist())


def _check_labels(labelled: LabelledSet, labels: tuple[str, ...]) -> None:
    if not labelled.images:
        raise DataError(f"{labelled.description}: no radiograph")
    for label in labelled.labels:
        if label not in labels:
            raise DataError(
                f"{labelled.description}: label {label} is not one of the bundle's: "
                f"{', '.join(labels)}"
            )
    for label in labels:
        if label not in labelled.labels:
            raise DataError(
                f"{labelled.description}: none has the bundle's label {label}, so its recall is "
                "undefined"
            )


def _prepare_one(preprocess: Preprocess, image: Path | Pixels, boxes: tuple[Box, ...]) -> _One:
    """The stages before inference, as `runtime/pipeline.py` calls them."""
    if isinstance(image, np.ndarray):
        pixels = image
    else:
        try:
            pixels = read_image(image).pixels
        except InputError as error:
            raise InputError(f"{image}: {error}") from error
    square, placement = preprocess.prepare(pixels)
    return _One(
        square=square,
        statistics=image_statistics(square),
        quality_issues=check_image_quality(pixels, placement, preprocess.size),
        boxes=boxes_in_input(boxes, pixels.shape, placement, preprocess.size),
    )
