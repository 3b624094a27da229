"""U-Net with a timm encoder (Ronneberger et al., MICCAI 2015), and its starting weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.ensemble import normalise
from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.weights import WeightsReport, fill, missing, read_safetensors
from orthoedge.training.recipe import Segmentation

ENCODER = "unet.encoder."
"""Part of the names of the encoder's parameters."""
_BACKBONE = f"{ENCODER}model."
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
        return self.unet(normalise(images))  # type: ignore[no-any-return]

    def lesion_mask(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> float32 (B, 1, S, S): probability that a pixel is of a lesion."""
        return self(images).float().sigmoid()  # type: ignore[no-any-return]


def build_unet(settings: Segmentation) -> UNet:
    """Build the network of a recipe's segmentation stage, with random weights.

    Raises:
        ConfigError: as `UNet`.
    """
    return UNet(settings.encoder, settings.decoder)


def load_unet_weights(network: UNet, file: WeightsFile) -> WeightsReport:
    """Load the tensors that fit: a U-Net's own, or an encoder's from timm or from a classifier.

    The first convolution of a network for colour pictures is adapted as in `load_weights`.

    Args:
        network: changed in place.
        file: model.safetensors of a segmentation run or of a classifier's, or a timm state. Of a
            classifier with several branches, the one that fits best is taken.

    Raises:
        DataError: not a safetensors file, or nothing in it fits.
    """
    tensors: Mapping[str, Tensor]
    tensors, digest = read_safetensors(file.path)
    own = network.state_dict()
    whole = any(name.startswith(ENCODER) for name in tensors)
    branches = sorted({name.split(".")[1] for name in tensors if name.startswith("branches.")})
    if branches:
        parts = [_without(tensors, f"branches.{branch}.backbone.") for branch in branches]
        tensors = max(parts, key=lambda part: _count_fitting(_for_encoder(part, own), own))
    prefix, part = ("", "") if whole else (_BACKBONE, ENCODER)
    if not whole:
        tensors = _for_encoder(tensors, own)
    rescale = not whole and not branches
    loaded = fill(network, tensors, prefix, file, network.encoder_name, rescale)
    return WeightsReport(
        file=file.path.name,
        repository=file.repository,
        revision=file.revision,
        sha256=digest,
        into="all" if whole else network.encoder_name,
        loaded=len(loaded),
        wanted=sum(name.startswith(prefix) for name in own),
        missed=missing(own, loaded, part),
        unused=tuple(name for name in tensors if prefix + name not in loaded),
    )


def _without(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _for_encoder(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors of a timm network the names that they have in one made for features.

    There timm joins some names by an underscore: `stages.0.` is `stages_0.`.
    """
    names = {
        name.removeprefix(_BACKBONE).replace(".", "_"): name.removeprefix(_BACKBONE)
        for name in own
        if name.startswith(_BACKBONE)
    }
    return {names.get(name.replace(".", "_"), name): t for name, t in tensors.items()}


def _count_fitting(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    return sum(
        _BACKBONE + name in own and own[_BACKBONE + name].shape == tensor.shape
        for name, tensor in tensors.items()
    )
