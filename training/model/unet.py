"""U-Net with a timm encoder (Ronneberger et al., MICCAI 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.pixels import normalise

ENCODER = "unet.encoder."
"""Part of the names of the encoder's parameters."""
_PRIOR = 0.01  # of a lesion's pixels; from 0.5, the first steps only learn that most are none


class UNet(nn.Module):
    """Outlines lesions of any kind: one logit per pixel.

    Args:
        encoder: timm name.
        decoder: channels of its five stages, from coarse to fine.

    Raises:
        ConfigError: timm has no such network, or it has no features at five scales.
    """

    def __init__(self, encoder: str, decoder: Sequence[int]) -> None:
        super().__init__()
        self.encoder_name = encoder
        channels = tuple(decoder)
        try:
            self.unet: nn.Module = smp.Unet(
                f"tu-{encoder}",
                encoder_weights=None,
                decoder_channels=channels,
                in_channels=1,
                classes=1,
            )
        except (RuntimeError, ValueError, KeyError, AttributeError, AssertionError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"segmentation.encoder: {encoder} makes no U-Net: {text}") from error
        bias = self.unet.get_parameter("segmentation_head.0.bias")
        nn.init.constant_(bias, math.log(_PRIOR / (1 - _PRIOR)))  # Lin et al., ICCV 2017

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> logits (B, 1, S, S); S is a multiple of 32."""
        return self.outline(normalise(images))

    def outline(self, x: Tensor) -> Tensor:
        """As `forward`, for float32 (B, 1, S, S) from -1 to 1."""
        return self.unet(x)  # type: ignore[no-any-return]

    def lesion_mask(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> float32 (B, 1, S, S): probability that a pixel is of a lesion."""
        return self(images).float().sigmoid()  # type: ignore[no-any-return]
