"""How well an engine's lesion masks agree with the masks of the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthoedge.benchmarks.metrics.bootstrap import mean_intervals
from orthoedge.benchmarks.schema import Interval
from orthoedge.compression.evaluation.ranking_losses import Loss
from orthoedge.runtime.engine import Engine, Outputs
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.masks.data import MaskedDataset
from orthoedge.training.masks.network import in_pixels
from orthoedge.training.segmentation.overlap import overlap

_SEED = 0  # of the bootstrap: the same outputs give the same intervals


class EngineOutliner(nn.Module):
    """An engine as a network that outlines lesions in the pixels of its input.

    Args:
        engine: of a network with a lesion mask.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> logits (B, 1, S, S)."""
        cells = self._engine.run(images.numpy()).lesion_mask
        assert cells is not None
        return in_pixels(torch.from_numpy(cells), images.shape[2])


def label_dice(outputs: Outputs, data: RadiographDataset) -> dict[str, Interval]:
    """Mean Dice of the images of each label that have a lesion, with 95 % intervals over patients.

    Empty where the network outlines nothing or no image has a mask.
    """
    return _by_label(image_dice(outputs, data), data)


def dice_losses(outputs: Outputs, teacher: Outputs, data: RadiographDataset) -> tuple[Loss, ...]:
    """Mean Dice lost by each label, on the same images; empty unless both have masks."""
    lost = image_dice(teacher, data) - image_dice(outputs, data)
    known = _by_label(lost, data).items()
    return tuple(Loss(f"{label} Dice drop", i.value, (i.low, i.high)) for label, i in known)


def image_dice(outputs: Outputs, data: RadiographDataset) -> npt.NDArray[np.float64]:
    """Dice (N,) of each image with a lesion; NaN of the others, and of all without masks."""
    values = np.full(len(data), np.nan)
    if outputs.lesion_mask is None or not isinstance(data, MaskedDataset):
        return values
    for index, cells in enumerate(outputs.lesion_mask):
        lesion = data.mask(index)
        if lesion.any():
            logits = in_pixels(torch.from_numpy(cells[None]), len(lesion))
            values[index] = overlap(logits[0, 0].numpy() >= 0, lesion, distances=False).dice
    return values


def _by_label(values: npt.NDArray[np.float64], data: RadiographDataset) -> dict[str, Interval]:
    groups = [record.patient_id for record in data.records]
    own = np.stack(
        [np.where(data.labels == c, values, np.nan) for c in range(len(data.label_names))]
    )
    if np.isnan(own).all():
        return {}
    means = mean_intervals(own, groups, data.labels, _SEED)
    pairs = zip(data.label_names, means, strict=True)
    return {label: mean for label, mean in pairs if mean is not None}
