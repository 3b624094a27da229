"""The U-Net of a recipe's segmentation stage, and its starting weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.unet import ENCODER, UNet
from orthoedge.training.model.weights import WeightsReport, fill, missing, read_safetensors
from orthoedge.training.recipe import Segmentation

_BACKBONE = f"{ENCODER}model."


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
