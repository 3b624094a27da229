"""A classifier's decoder as a network that outlines lesions in the pixels of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orthoedge.training.model.ensemble import Ensemble

_LEAST = 1e-6  # probability whose logit is still exact in float32


class Outliner(nn.Module):
    """Gives logits per pixel, as U-Net does, from the cells of a classifier's mask.

    Between cells the probability is interpolated, as the runtime does before it draws a contour.

    Args:
        classifier: with a decoder or a U-Net in front; not copied.
    """

    def __init__(self, classifier: Ensemble) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> logits (B, 1, S, S)."""
        return in_pixels(self.classifier.mask_logits(images).float().sigmoid(), images.shape[2])


def outliner(classifier: Ensemble) -> Outliner | None:
    """The outlines of a classifier; None where it has no mask."""
    return Outliner(classifier) if classifier.has_mask else None


def in_pixels(cells: Tensor, size: int) -> Tensor:
    """Probabilities (B, 1, h', w') of cells -> logits (B, 1, size, size) of pixels."""
    return torch.logit(spread(cells, size), _LEAST)


def spread(cells: Tensor, size: int) -> Tensor:
    """(B, 1, h', w') -> (B, 1, size, size), bilinear."""
    return F.interpolate(cells, (size, size), mode="bilinear", align_corners=False)
