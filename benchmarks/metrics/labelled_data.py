"""Labelled radiographs, read and prepared once for all engines."""

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
    """N radiographs with their labels, lesions and patients."""

    description: str
    """Their description, such as `600 phantoms of seed 41`."""
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
    """The radiographs of a set as network inputs."""

    description: str
    """As `LabelledSet.description`."""
    model_inputs: Pixels
    """uint8 (N, S, S)."""
    statistics: npt.NDArray[np.float32]
    """float32 (N, L)."""
    quality_issues: tuple[tuple[QualityIssue, ...], ...]
    """Quality issues of each."""
    truth: npt.NDArray[np.int64]
    """(N,) indices into the bundle's labels."""
    boxes: tuple[tuple[Box, ...], ...]
    """Lesions of each, as fractions of the input; those outside the field are left out."""
    groups: tuple[str, ...]
    """As `LabelledSet.groups`."""


def prepare(bundle: Bundle, labelled: LabelledSet) -> Prepared:
    """Read and preprocess radiographs with the runtime's own functions.

    Raises:
        DataError: no radiograph, a label that is not one of the bundle's, or a label of the bundle
            without a radiograph.
        InputError: a file is not a radiograph; the message names it.
    """
    labels = bundle.manifest.labels
    if not labelled.images:
        raise DataError(f"{labelled.description}: no radiograph")
    for label in labelled.labels:
        if label not in labels:
            reason = f"label {label} is not one of the bundle's: {', '.join(labels)}"
            raise DataError(f"{labelled.description}: {reason}")
    for label in labels:
        if label not in labelled.labels:
            reason = f"none has the bundle's label {label}, so its recall is undefined"
            raise DataError(f"{labelled.description}: {reason}")
    read = partial(_prepare_one, bundle.manifest.preprocess)
    with ThreadPoolExecutor(available_cores(), "orthoedge") as pool:
        ready = pool.map(read, labelled.images, labelled.boxes)
        model_inputs, statistics, issues, boxes = zip(*ready, strict=True)
    return Prepared(
        description=labelled.description,
        model_inputs=np.stack(model_inputs),
        statistics=np.stack(statistics),
        quality_issues=issues,
        truth=np.array([labels.index(label) for label in labelled.labels], np.int64),
        boxes=boxes,
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


def _prepare_one(
    preprocess: Preprocess, image: Path | Pixels, boxes: tuple[Box, ...]
) -> tuple[Pixels, npt.NDArray[np.float32], tuple[QualityIssue, ...], tuple[Box, ...]]:
    """The stages before inference, as `runtime/pipeline.py` calls them."""
    if isinstance(image, np.ndarray):
        pixels = image
    else:
        try:
            pixels = read_image(image).pixels
        except InputError as error:
            raise InputError(f"{image}: {error}") from error
    model_input, transform = preprocess.prepare(pixels)
    issues = check_image_quality(pixels, transform, preprocess.size)
    inside = boxes_in_input(boxes, pixels.shape, transform, preprocess.size)
    return model_input, image_statistics(model_input), issues, inside
