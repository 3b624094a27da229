"""Images for training, preprocessed by the runtime's own function."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box, boxes_in_input
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import LetterboxTransform, Preprocess
from orthoedge.training.data.augment import Matrix
from orthoedge.training.data.cache import preprocessed
from orthoedge.training.data.crops import GRID, boxes_in_crop, draw_boxes, place_crop
from orthoedge.training.data.index import ImageRecord, list_sha256
from orthoedge.training.data_quality.duplicates import file_digests

if TYPE_CHECKING:
    from typing_extensions import Self

Pixels = npt.NDArray[np.uint8]


class RadiographDataset:
    """Preprocessed radiographs, in the order of the records.

    Args:
        records: images to read.
        labels: the classes in the order of the logits.
        preprocess: the runtime's own preprocessing.
        progress: show a bar while decoding; default: where stderr is a terminal.
        cache: folder of preprocessed images, for this run and later ones; None: memory only.
        source_labels: labels that each source can have, as the recipe's.

    Raises:
        DataError: an image's label is not one of `labels` or of its source, or the cache cannot be
            written.
        InputError: a file is not a radiograph.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        labels: Sequence[str],
        preprocess: Preprocess,
        progress: bool | None = None,
        cache: Path | None = None,
        source_labels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        possible = source_labels or {}
        for record in records:
            own = possible.get(record.source, labels)
            if record.label not in own:
                of = "" if own is labels else f"{record.source}'s "
                raise DataError(
                    f"{record.path}: label {record.label} is not one of {of}{list(own)}"
                )
        self._arguments = (labels, preprocess, progress, cache, source_labels)
        self.label_names = tuple(labels)
        """The classes in the order of the logits."""
        self.records = tuple(records)
        rows = [[name in possible.get(r.source, labels) for name in labels] for r in records]
        self.allowed: npt.NDArray[np.bool_] = np.array(rows, bool).reshape(-1, len(labels))
        """bool (N, C): the labels that each image's source can have."""
        self.labels: npt.NDArray[np.int64] = np.array([labels.index(s.label) for s in records])
        shown = sys.stderr.isatty() if progress is None else progress
        cached = preprocessed([s.path for s in records], preprocess, cache, shown)
        self.images: Pixels = np.asarray(cached["pixels"])
        """uint8 (N, S, S)."""
        self.shapes: tuple[tuple[int, int], ...] = tuple(map(tuple, cached["shape"].tolist()))
        """Height and width of each radiograph."""
        geometry = zip(cached["field"].tolist(), cached["content"].tolist(), strict=True)
        self.placements = tuple(LetterboxTransform(tuple(f), tuple(c)) for f, c in geometry)
        """Letterbox geometry of each image."""
        self.boxes = tuple(
            boxes_in_input(record.boxes, shape, placement, preprocess.size)
            for record, shape, placement in zip(records, self.shapes, self.placements, strict=True)
        )
        """Lesions of each image as fractions of the input; those outside the field are left out."""

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file, read once.

        Raises:
            DataError: a file cannot be read.
        """
        return tuple(file_digests([record.path for record in self.records]))

    @property
    def list_sha256(self) -> str:
        """Identity of the images and of what is known about them; see `index.list_sha256`.

        Raises:
            DataError: a file cannot be read.
        """
        return list_sha256(self.records, self.digests)

    def stored(self, size: int) -> Self:
        """Read the same images at `size` pixels and without CLAHE; with size 0, return these.

        They are what training makes its views from, which get CLAHE after their changes.
        """
        if not size:
            return self
        labels, preprocess, progress, cache, source_labels = self._arguments
        raw = msgspec.structs.replace(preprocess, size=size, clahe_stage="none")
        return type(self)(self.records, labels, raw, progress, cache, source_labels)

    def content(self, index: int) -> Pixels:
        """Return the collimated field of an image without its letterbox, uint8 (h, w)."""
        x0, y0, x1, y1 = self.placements[index].content
        content: Pixels = self.images[index][y0:y1, x0:x1]
        return content

    def cropped(self, side: int, seed: int) -> Self:
        """Return one fixed crop of each image, see `place_crop`; with side 0, the whole images."""
        if not side:
            return self
        rng = np.random.default_rng(seed)
        crops = copy.copy(self)
        crops.images = np.empty((len(self), side, side), np.uint8)
        boxes = []
        for index, image in enumerate(self.images):
            x, y = place_crop(image, self.boxes[index], side, rng)
            crops.images[index] = image[y : y + side, x : x + side]
            boxes.append(boxes_in_crop(self.boxes[index], (x, y), side, image.shape[0]))
        crops.boxes = tuple(boxes)
        return crops

    def lesion_side(self, size: int) -> int:
        """Side in pixels of the lesions that `draw_lesion` draws for views of `size` pixels."""
        return GRID

    def draw_lesion(self, index: int, boxes: Sequence[Box], matrix: Matrix, size: int) -> Pixels:
        """Draw the lesion of an image as a view shows it, as far as boxes tell.

        Args:
            index: of the image.
            boxes: of the lesions that the view's label is about, as fractions of the image.
            matrix: from pixels of the image (x, y, 1) to those of the view, float64 (2, 3).
            size: side of the view.

        Returns:
            uint8 (G, G) with G = `lesion_side(size)`, 1 in the lesion.
        """
        return draw_boxes(boxes, len(self.images[index]), matrix, size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        """uint8 (1, S, S) and the class index."""
        return self.images[index][None], int(self.labels[index])
