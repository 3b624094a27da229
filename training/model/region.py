"""Two stages in one graph: U-Net outlines a lesion, and a classifier looks at that region.

The region is cut out by one GridSample, which OpenVINO, ONNX Runtime and TensorRT all have, so that
the whole system is a network with the common interface and a lesion mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from orthoedge.training.model.unet import UNet

_POOLED = 4  # pixels a side of a cell of the lesion mask
_REACH = 2.0  # deviations of the mask from its centre; an even disc reaches exactly as far
_SPARE = 1.5  # sides of the region: the classifier sees some bone around a lesion
_LEAST = 0.25  # of the input's side
_TINY = 1e-6
_BLACK = -1.0  # of normalised pixels, as in the padding


class Place(NamedTuple):
    """Where the regions of N images lie, and why."""

    mask: Tensor
    """float32 (N, 1, h, w), 0 to 1."""
    centre: Tensor
    """(N, 2), as of `region_of`."""
    half: Tensor
    """(N, 1)."""


class Region(nn.Module):
    """A finished U-Net, and the square around its mask as a classifier is shown it.

    Where the mask is empty, that is nowhere one half or more, the whole image is shown. The U-Net
    does not learn, and keeps the statistics of its batch normalizations.

    Args:
        unet: of an input whose side is a multiple of 32.
        size: side of the region as the classifier sees it, in pixels.
    """

    def __init__(self, unet: UNet, size: int) -> None:
        super().__init__()
        self.unet = unet
        self.size = size
        self._steps: Tensor
        steps = torch.arange(size)
        self.register_buffer("_steps", (2 * steps + 1) / size - 1, persistent=False)  # of a side
        self.train(False)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Region:
        """Stay in evaluation mode, whatever the classifier does."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Place]:
        """float32 (N, 1, S, S), -1 to 1 -> the regions (N, 1, size, size), and their places."""
        mask = self.mask_logits(x).sigmoid()
        place = Place(mask, *region_of(mask))
        return cut(x, place.centre, place.half, self._steps), place

    def mask_logits(self, x: Tensor) -> Tensor:
        """float32 (N, 1, S, S), -1 to 1 -> logits of the cells of the mask, (N, 1, S/4, S/4)."""
        return F.avg_pool2d(self.unet.outline(x).float(), _POOLED)

    def over_input(self, maps: Tensor, place: Place) -> Tensor:
        """Lay maps (N, C, h, w) of the regions over the whole input, (N, C, S/16, S/16)."""
        return put_back(maps, place.centre, place.half, place.mask.shape[2] // _POOLED)


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
