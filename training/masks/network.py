"""A classifier's decoder as a network that outlines lesions in the pixels of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orthoedge.training.model.ensemble import Ensemble

_LEAST = 1e-6  # probability whose logit is still exact in float32


class Outliner(nn.Module):
    """Gives logits per pixel, as U-Net does, from the cells of a classifier's decoder.

    Between cells the probability is interpolated, as the runtime does before it draws a contour.

    Args:
        classifier: with a decoder; not copied.
    """

    def __init__(self, classifier: Ensemble) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> logits (B, 1, S, S)."""
        cells = self.classifier.mask_logits(images).float().sigmoid()
        return torch.logit(spread(cells, images.shape[2]), _LEAST)


def spread(cells: Tensor, size: int) -> Tensor:
    """(B, 1, h', w') -> (B, 1, size, size), bilinear."""
    return F.interpolate(cells, (size, size), mode="bilinear", align_corners=False)
