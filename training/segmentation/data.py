"""Radiographs with the masks of their lesions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.augment import Matrix
from orthoedge.training.data.dataset import Pixels, RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.loader import HEALTHY
from orthoedge.training.data_quality.duplicates import file_digests
from orthoedge.training.evaluation.lesion_overlap import Cover, read_cover
from orthoedge.training.progress import track

Mask = npt.NDArray[np.bool_]
"""(S, S): whether a pixel of the network's input is of a lesion."""
_HALF = 128


class OutlinedDataset(RadiographDataset):
    """Preprocessed radiographs, and a mask of each in the pixels of the network's input.

    Takes masks of any size from the index, like the saliency maps' scores do; an image without one
    has an empty mask. Masks are kept as one bit per pixel.

    Args:
        records: images to read.
        labels: as in `RadiographDataset`, like all that follow.
        preprocess: also of the masks, but for the grey levels.
        progress: show a bar.
        cache: folder of preprocessed images.
        source_labels: labels that each source can have.

    Raises:
        DataError: as `RadiographDataset`; or a mask is no image.
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
        super().__init__(records, labels, preprocess, progress, cache, source_labels)
        size = preprocess.size
        marked = [index for index, record in enumerate(self.records) if record.mask is not None]

        def read(index: int) -> Pixels | None:
            geometry = self.shapes[index], self.placements[index]
            cover = read_cover(self.records[index], *geometry, size)
            return None if cover is None else np.packbits(binary(cover))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            masks = track(pool.map(read, marked), "masks", len(marked), "images", progress)
            packed = {i: mask for i, mask in zip(marked, masks, strict=True) if mask is not None}
        self._packed: dict[int, Pixels] = packed

    def mask(self, index: int) -> Mask:
        """Mask of an image."""
        size = self.images.shape[1]
        if index not in self._packed:
            return np.zeros((size, size), bool)
        bits = np.unpackbits(self._packed[index], count=size * size)
        return bits.reshape(size, size).astype(bool)

    @property
    def list_sha256(self) -> str:
        """Identity of the images, of what is known about them, and of their masks."""
        marked = [(d, r.mask) for d, r in zip(self.digests, self.records, strict=True) if r.mask]
        masks = file_digests([mask for _, mask in marked])
        pairs = sorted(f"{d} {mask}" for (d, _), mask in zip(marked, masks, strict=True))
        return sha256("\n".join((super().list_sha256, *pairs)).encode())

    def lesion_side(self, size: int) -> int:
        """Lesions are drawn pixel by pixel."""
        return size

    def draw_lesion(self, index: int, boxes: Sequence[Box], matrix: Matrix, size: int) -> Pixels:
        """Show the mask of an image as a view shows the image, whatever its boxes are.

        Arguments as in `RadiographDataset`; returns uint8 (S, S), 1 in the lesion.
        """
        if index not in self._packed:
            return np.zeros((size, size), np.uint8)
        mask = self.mask(index).view(np.uint8) * np.uint8(255)
        view = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_LINEAR)
        return (np.asarray(view) >= _HALF).astype(np.uint8)


def binary(cover: Cover) -> Mask:
    """Pixels that are lesion to one half; of a lesion thinner than that, all that it touches."""
    mask = cover >= 0.5
    return mask if mask.any() else cover > 0


def outlined(records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
    """Images of which it is known where their lesions are: they have a mask, or no lesion."""
    return tuple(r for r in records if r.mask is not None or r.label == HEALTHY)
