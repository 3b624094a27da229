"""A light decoder of lesion masks on the features of a classifier's own backbone.

Top-down with lateral 1×1 convolutions, as in feature pyramids (Lin et al., CVPR 2017), and no
normalization: the backbone's statistics and weights stay as they are, so that logits, map and
feature vector do not change when a decoder is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from orthoedge.runtime.errors import ConfigError

COARSEST = 32
"""Pixels of the input per cell of a backbone's last stage, unless it is dilated."""
_PRIOR = 0.01  # of a lesion's cells; from 0.5, the first steps only learn that most are none


class MaskDecoder(nn.Module):
    """Decodes a backbone's coarsest features up to 1/stride of the input's side.

    Args:
        widths: channels of the features from coarse to fine, the last at `stride`.
        channels: of every stage of the decoder.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.stages = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        self.head = nn.Conv2d(channels, 1, 1)
        for module in (*self.lateral, *self.stages):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, math.log(_PRIOR / (1 - _PRIOR)))  # Lin et al., ICCV 2017

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features (B, K, h, w) from coarse to fine -> logits (B, 1, h', w')."""
        x: Tensor | None = None
        for lateral, stage, own in zip(self.lateral, self.stages, features, strict=True):
            y = lateral(own.float())
            if x is not None:
                y = y + F.interpolate(x, y.shape[2:], mode="nearest")
            x = F.relu(stage(F.relu(y)))
        return self.head(x)  # type: ignore[no-any-return]


def pick_stages(
    name: str, sides: Mapping[int, int], side: int, coarsest: int, stride: int
) -> list[int]:
    """Choose the stages of a backbone that a decoder reads.

    Args:
        name: of the backbone, for the message.
        sides: side of the map of each stage, by its index.
        side: of the input, in pixels.
        coarsest: pixels of the input per cell of the backbone's last stage.
        stride: of the decoder.

    Returns:
        Indices of stages, from 1/coarsest of the side to 1/stride; of several of one size, the
        last.

    Raises:
        ConfigError: the backbone has no features at one of these sizes.
    """
    wanted = [coarsest]
    while wanted[-1] > stride:
        wanted.append(wanted[-1] // 2)
    chosen = []
    for cell in wanted:
        fitting = [i for i, size in sides.items() if size in (side // cell, math.ceil(side / cell))]
        if not fitting:
            raise ConfigError(
                f"mask.stride: {name} has no features at 1/{cell} of the side, which a decoder of "
                "masks reads; choose another backbone"
            )
        chosen.append(max(fitting))
    return chosen
