"""A small plain convolutional network, like those that many published studies trained.

Five stages of one 3×3 convolution, batch normalization, ReLU and 2×2 max pooling: the pattern of
VGG (Simonyan and Zisserman, ICLR 2015) with batch normalization (Ioffe and Szegedy, ICML 2015). The
dense layers of such studies are replaced by global average pooling and one linear
layer (Lin et al., ICLR 2014), which is what the closed-form map needs.
"""

from __future__ import annotations

import re
from itertools import pairwise

from torch import Tensor, nn

from orthoedge.runtime.errors import ConfigError

_NAME = re.compile(r"plain_cnn_(\d+)")
_GROWTH = (1, 2, 4, 8, 8)
_WIDEST = 256  # of the first stage; some 65 million weights


class PlainCNN(nn.Module):
    """Five stages; their maps are 1/32 of the image's side, like those of timm's networks.

    Args:
        width: channels of the first stage; the later ones have 2, 4, 8 and 8 times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [1] + [width * growth for growth in _GROWTH]
        self.num_features = widths[-1]
        self.stages = nn.Sequential()
        for before, after in pairwise(widths):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers = (nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.MaxPool2d(2))
            self.stages.append(nn.Sequential(convolution, *layers))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, 8·width, S/32, S/32), rounded down."""
        return self.stages(x)  # type: ignore[no-any-return]

    def forward_intermediates(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The features, and the map of every stage, as timm's networks give them."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return x, maps


def is_plain_cnn(name: str) -> bool:
    """Return whether a backbone's name means this network and not one of timm's."""
    return name.startswith("plain_cnn")


def plain_cnn(name: str) -> PlainCNN:
    """Build `plain_cnn_W`.

    Raises:
        ConfigError: W is missing or out of range.
    """
    match = _NAME.fullmatch(name)
    if not match or not 1 <= int(match[1]) <= _WIDEST:
        raise ConfigError(f"backbone: expected plain_cnn_W with W from 1 to {_WIDEST}, got {name}")
    return PlainCNN(int(match[1]))
