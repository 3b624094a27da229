"""Training images with the masks to learn: those of the index, softened by a U-Net's outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.augment import Matrix
from orthoedge.training.data.dataset import Pixels, RadiographDataset
from orthoedge.training.data.loader import HEALTHY
from orthoedge.training.progress import Progress
from orthoedge.training.segmentation.data import OutlinedDataset, outlined
from orthoedge.training.segmentation.fit import SegmentationRun
from orthoedge.training.segmentation.predictions import predict

if TYPE_CHECKING:
    from typing_extensions import Self

_KEPT = 4  # pixels of the U-Net's mask a side that are averaged
SHOWN = 255
"""What a pixel of the lesion is in a drawn target."""


class MaskedDataset(OutlinedDataset):
    """Images for a decoder of masks; also those of which it is not known where their lesion is.

    Arguments as of `OutlinedDataset`.
    """

    soft: Pixels | None = None
    """uint8 (N, s, s): a U-Net's probability times 255 over the input; None: no U-Net."""
    soft_weight = 0.0
    """Of that against the mask, below 0.5."""

    def stored(self, size: int) -> Self:
        """As `RadiographDataset`; the U-Net's outlines stay."""
        data = super().stored(size)
        data.soft, data.soft_weight = self.soft, self.soft_weight
        return data

    def draw_lesion(self, index: int, boxes: Sequence[Box], matrix: Matrix, size: int) -> Pixels:
        """Draw what a view of an image should give.

        Arguments as in `RadiographDataset`.

        Returns:
            uint8 (S, S): 255 times the weighted mean of the mask and the U-Net's probability, which
            is above one half in the mask alone. Where the mask is not known, the U-Net's alone.
        """
        truth = super().draw_lesion(index, boxes, matrix, size) * np.uint8(SHOWN)
        if self.soft is None:
            return truth
        cells = self.soft[index]
        scale = len(self.images[index]) / len(cells)
        enlarge = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
        view = cv2.warpAffine(cells, matrix @ enlarge, (size, size), flags=cv2.INTER_LINEAR)
        if not self.is_known(index):
            return np.asarray(view, np.uint8)
        mixed = cv2.addWeighted(truth, 1 - self.soft_weight, view, self.soft_weight, 0)
        return np.asarray(mixed, np.uint8)

    def is_known(self, index: int) -> bool:
        """Whether it is known where the lesion of an image is, or that there is none."""
        record = self.records[index]
        return record.mask is not None or record.label == HEALTHY

    def known(self) -> Self:
        """The images of which that is known."""
        records = outlined(self.records)
        return self if len(records) == len(self) else type(self)(records, *self._arguments)


def soft_masks(
    teacher: SegmentationRun,
    data: RadiographDataset,
    preprocess: Preprocess,
    progress: bool,
    cache: Path | None,
) -> Pixels:
    """Outline every image with a U-Net.

    Args:
        teacher: a finished run of the segmentation stage.
        data: N images, read again at the size of the U-Net's input.
        preprocess: of `data`.
        progress: show a bar.
        cache: folder of preprocessed images.

    Returns:
        uint8 (N, s, s): its probability times 255, at a quarter of the side of its input.

    Raises:
        ConfigError: it sees another part of the radiograph.
    """
    own = teacher.recipe.preprocess
    if own.collimated_field != preprocess.collimated_field:
        raise ConfigError(
            f"preprocess.collimated_field: {own.collimated_field} of the U-Net's run, "
            f"{preprocess.collimated_field} of the classifier's; they must agree"
        )
    images = RadiographDataset(data.records, data.label_names, own, progress, cache)
    side = own.size // _KEPT
    masks: Pixels = np.empty((len(images), side, side), np.uint8)
    with Progress("outlines of the U-Net", len(images), "images", progress) as shown:
        for indices, logits in predict(teacher.model, images):
            for index, mask in zip(indices, logits.sigmoid().numpy(), strict=True):
                small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
                masks[index] = np.rint(small * SHOWN)
                shown.advance()
    return masks
