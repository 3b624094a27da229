"""Two stages in one graph: U-Net outlines a lesion, and a classifier looks at that region.

The region is cut out by one GridSample, which OpenVINO, ONNX Runtime and TensorRT all have, so that
the whole system is a network with the common interface and a lesion mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orthoedge.training.model.ensemble import Ensemble, ModelOutput, normalise

_POOLED = 4  # pixels a side of a cell of the lesion mask
_REACH = 2.0  # deviations of the mask from its centre; an even disc reaches exactly as far
_SPARE = 1.5  # sides of the region: the classifier sees some bone around a lesion
_LEAST = 0.25  # of the input's side
_TINY = 1e-6
_BLACK = -1.0  # of normalised pixels, as in the padding


class RegionNetwork(nn.Module):
    """A U-Net, the square around its mask, and a classifier of what is in it.

    Where the mask is empty, that is nowhere one half or more, the classifier sees the whole image.

    Args:
        unet: gives logits (B, 1, S, S) for uint8 (B, 1, S, S).
        classifier: of the region.
        size: side of the region as the classifier sees it, in pixels.
    """

    has_mask = True
    """Whether `explain` gives a lesion mask."""

    def __init__(self, unet: nn.Module, classifier: Ensemble, size: int) -> None:
        super().__init__()
        self.unet = unet
        self.classifier = classifier
        self._steps: Tensor
        steps = torch.arange(size)
        self.register_buffer("_steps", (2 * steps + 1) / size - 1, persistent=False)  # of a side

    def explain(self, images: Tensor) -> ModelOutput:
        """uint8 (N, 1, S, S) -> common outputs; the map lies over the whole input."""
        logits = F.avg_pool2d(self.unet(images).float(), _POOLED)
        mask = logits.sigmoid()
        centre, half = region_of(mask)
        found = self.classifier.explain_normalised(
            cut(normalise(images), centre, half, self._steps)
        )
        maps = put_back(found.saliency_map, centre, half, mask.shape[2] // _POOLED)
        return found._replace(saliency_map=maps, lesion_mask=mask)


def region_of(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and half the side of the square around a soft mask.

    From mean and deviation of the squared mask along both axes, which faint places far away hardly
    move, unlike the outermost pixels above a threshold.

    Args:
        mask: float32 (N, 1, h, w), 0 to 1.

    Returns:
        (N, 2), x and y, and (N, 1), both in the units of GridSample: -1 to 1 across the image. For
        an empty mask 0, 0 and 1: the whole image.
    """
    weight = mask[:, 0] ** 2
    total = weight.sum((1, 2)) + _TINY
    places, spreads = [], []
    for axis, side in ((1, mask.shape[3]), (2, mask.shape[2])):
        steps = (2 * torch.arange(side, device=mask.device) + 1) / side - 1
        along = weight.sum(axis)  # (N, side)
        mean = (along * steps).sum(1) / total
        square = (along * steps**2).sum(1) / total
        places.append(mean)
        spreads.append((square - mean**2).clamp(min=0).sqrt())
    reach = _SPARE * _REACH * torch.maximum(spreads[0], spreads[1])
    empty = mask.amax((1, 2, 3)) < 0.5
    half = torch.where(empty, 1.0, reach.clamp(_LEAST, 1.0))[:, None]
    centre = torch.stack(places, 1)
    # A square that would reach beyond the image is moved back into it.
    room = (1 - half).clamp(min=0)
    return torch.maximum(torch.minimum(centre, room), -room), half


def cut(x: Tensor, centre: Tensor, half: Tensor, steps: Tensor) -> Tensor:
    """Show the square of each image at the size of `steps`; what lies outside is black.

    Args:
        x: normalised (N, K, H, W).
        centre: (N, 2), as of `region_of`.
        half: (N, 1).
        steps: (n,), -1 to 1, the places of the result's pixels in the square.

    Returns:
        (N, K, n, n).
    """
    places = centre[:, :, None] + half[:, :, None] * steps  # (N, 2, n)
    side = len(steps)
    across = places[:, 0, None, :, None].expand(-1, side, -1, -1)
    down = places[:, 1, :, None, None].expand(-1, -1, side, -1)
    grid = torch.cat((across, down), 3)  # (N, n, n, 2)
    shown = F.grid_sample(x - _BLACK, grid, mode="bilinear", align_corners=False)
    return shown + _BLACK


def put_back(maps: Tensor, centre: Tensor, half: Tensor, side: int) -> Tensor:
    """Lay maps (N, C, h, w) of the square over the whole input, (N, C, side, side); 0 around it."""
    steps = (2 * torch.arange(side, device=maps.device) + 1) / side - 1
    places = (steps - centre[:, :, None]) / half[:, :, None]  # in the square's own units
    across = places[:, 0, None, :, None].expand(-1, side, -1, -1)
    down = places[:, 1, :, None, None].expand(-1, -1, side, -1)
    return F.grid_sample(maps, torch.cat((across, down), 3), mode="bilinear", align_corners=False)
