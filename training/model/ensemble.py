"""The network: GAP-linear branches whose logits are added with learnable weights.

A branch is a backbone F, global average pooling and a linear head. Adding the logits of branches
with equally large maps is again one GAP-linear head over the concatenated features, so an ensemble
of two and a student of one branch have the same signature, and every tool works on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.mask_decoder import COARSEST, MaskDecoder, pick_stages
from orthoedge.training.model.pixels import normalise
from orthoedge.training.model.plain_cnn import is_plain_cnn, plain_cnn
from orthoedge.training.model.region import Place, Region
from orthoedge.training.recipe import Recipe

_PROBE = 192  # pixels: a multiple of 64, and not the 224 that a transformer may be fixed to
_BEHIND_POOLING = {
    "MobileNetV3": ("conv_head", "norm_head", "act2"),  # V4 too
    "VGG": ("pre_logits",),
}
"""Layers of timm's networks that `forward_features` does not reach; dropped to save memory."""

_EPSILON = 1e-6  # pytorch-grad-cam's, so that the two agree to rounding


class ModelOutput(NamedTuple):
    """One forward pass with its explanation: the outputs of every exported graph."""

    logits: Tensor
    """float32 (N, C)."""
    saliency_map: Tensor
    """float32 (N, C, h, w), non-negative."""
    feature_vector: Tensor
    """float32 (N, K)."""
    lesion_mask: Tensor | None = None
    """float32 (N, 1, h', w'), 0 to 1; None without a decoder."""

    def tensors(self) -> tuple[Tensor, ...]:
        """The outputs that the network has."""
        return tuple(tensor for tensor in self if tensor is not None)


class Branch(nn.Module):
    """A backbone, global average pooling, dropout and a linear head."""

    def __init__(
        self, name: str, classes: int, dropout: float = 0.0, output_stride: int = COARSEST
    ) -> None:
        super().__init__()
        self.name = name
        if is_plain_cnn(name):
            if output_stride != COARSEST:
                raise _no_dilation(name, output_stride)
            self.backbone: nn.Module = plain_cnn(name)
        else:
            self.backbone = _timm_backbone(name, output_stride)
        self._check_map()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(self.backbone.num_features), classes)  # type: ignore[arg-type]

    @torch.no_grad()
    def _check_map(self) -> None:
        """Refuse backbones with tokens, channels-last features, or one fixed image size."""
        self.eval()  # uses no random numbers and changes no running statistics
        try:
            shape = tuple(self.features(torch.zeros(1, 1, _PROBE, _PROBE)).shape)
        except (AssertionError, RuntimeError) as error:
            raise ConfigError(f"backbone: {self.name} needs a fixed image size") from error
        self.train()
        if len(shape) != 4 or shape[1] != self.backbone.num_features:
            raise ConfigError(
                f"backbone: {self.name} gives features {shape}, not a map (B, K, h, w): "
                "choose a convolutional network"
            )

    def features(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, K, h, w)."""
        return self.backbone.forward_features(x)  # type: ignore[no-any-return, operator]

    def stages(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 1, S, S) -> the features, and the map of every stage from fine to coarse."""
        features, maps = self.backbone.forward_intermediates(x)  # type: ignore[operator]
        return features, maps

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C)."""
        return self.classify(self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, C)."""
        return self.head(self.dropout(features.mean((2, 3))))  # type: ignore[no-any-return]


def _timm_backbone(name: str, output_stride: int) -> nn.Module:
    """Build a timm network up to its last feature map; layers after pooling break GAP-linearity.

    Raises:
        ConfigError: timm has no such network, or it has no dilated form.
    """
    settings: dict[str, Any] = {"in_chans": 1, "num_classes": 0, "global_pool": ""}
    if output_stride != COARSEST:
        settings["output_stride"] = output_stride
    if name.startswith("vgg"):  # 120 million weights after the map are not used, so not even drawn
        settings["mlp_ratio"] = 1 / 4096
    try:
        backbone: Any = timm.create_model(name, **settings)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"backbone: timm has no model named {name}") from error
    except (AssertionError, TypeError) as error:
        if output_stride == COARSEST:
            raise
        raise _no_dilation(name, output_stride) from error
    kind = type(backbone).__name__
    if kind == "ConvNeXt" and isinstance(backbone.norm_pre, nn.Identity):
        # ConvNeXt normalizes the pooled vector. Normalizing each cell before pooling instead keeps
        # everything after pooling linear.
        backbone.norm_pre = backbone.head.norm
        backbone.head = nn.Identity()
    for unused in _BEHIND_POOLING.get(kind, ()):
        if hasattr(backbone, unused):
            setattr(backbone, unused, nn.Identity())
    return backbone  # type: ignore[no-any-return]


def _no_dilation(name: str, output_stride: int) -> ConfigError:
    return ConfigError(
        f"output_stride: {name} has no dilated form, so {COARSEST} is needed, got {output_stride}"
    )


class Ensemble(nn.Module):
    """Branches fused by weights that start at `fusion`, stay positive and sum to one.

    Args:
        backbones: timm names or `plain_cnn_W`; one makes a student, two or more an ensemble.
        classes: C.
        fusion: starting weight of each branch, positive; learned as a softmax.
        dropout: before each linear head, in training only.
        head: `sigmoid` learns one logit z for two classes and gives -z/2 and z/2 as theirs: their
            softmax is sigmoid(z) for the second class, and the map exists for both.
        output_stride: pixels of the input per cell of the map, as in the recipe.

    Raises:
        ConfigError: an unknown backbone, one without a dilated form at this stride, weights that do
            not fit the backbones, or a sigmoid head for other than two classes.
    """

    def __init__(
        self,
        backbones: Sequence[str],
        classes: int,
        fusion: Sequence[float] | None = None,
        dropout: float = 0.0,
        head: Literal["softmax", "sigmoid"] = "softmax",
        output_stride: int = COARSEST,
    ) -> None:
        super().__init__()
        if head == "sigmoid" and classes != 2:
            raise ConfigError(f"head: sigmoid needs exactly two labels, got {classes}")
        self.sigmoid = head == "sigmoid"
        self.output_stride = output_stride
        fusion = fusion or [1.0 / len(backbones)] * len(backbones)
        if len(fusion) != len(backbones) or min(fusion) <= 0:
            raise ConfigError(f"fusion: expected {len(backbones)} positive weights, got {fusion}")
        width = 1 if self.sigmoid else classes
        self.branches = nn.ModuleList(
            Branch(name, width, dropout, output_stride) for name in backbones
        )
        behind = {pads_behind(branch) for branch in self._branches()}
        if output_stride != COARSEST and len(behind) > 1:
            raise ConfigError(
                f"output_stride: {', '.join(backbones)} pad at different sides, so their finer "
                f"maps do not lie on each other; {COARSEST} is needed"
            )
        self._pads_behind = True in behind
        self.fusion_logits = nn.Parameter(torch.tensor(fusion).log())
        self.decoder: MaskDecoder | None = None
        """Outlines lesions; see `add_decoder`."""
        self.region: Region | None = None
        """Shows the branches a part of the image; None: all of it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the backbones."""
        return tuple(branch.name for branch in self._branches())

    def fusion(self) -> Tensor:
        """(branches,) weights, positive, sum 1."""
        return self.fusion_logits.softmax(0)

    def features(self, x: Tensor) -> Tensor:
        """Map float (B, 1, S, S) to (B, K, h, w), the branches' features concatenated.

        Raises:
            ConfigError: the branches' maps differ in size, so their sum is not GAP-linear.
        """
        maps = [branch.features(x) for branch in self._branches()]
        sizes = [tuple(m.shape[2:]) for m in maps]
        if len(set(sizes)) > 1:
            got = ", ".join(f"{n} {size}" for n, size in zip(self.names, sizes, strict=True))
            raise ConfigError(f"backbones: feature maps must be equally large, got {got}")
        return torch.cat(maps, 1)

    @torch.no_grad()
    def check_maps(self, size: int) -> None:
        """Raise ConfigError unless the branches' maps are equally large for images of `size`."""
        before = self.training
        self.eval().features(torch.zeros(1, 1, size, size))
        self.train(before)

    def head(self) -> tuple[Tensor, Tensor]:
        """W (C, K) and b (C,) of the single linear head that equals the fused branches."""
        weights = self.fusion()
        pairs = list(zip(weights, self._branches(), strict=True))
        weight = torch.cat([w * branch.head.weight for w, branch in pairs], 1)
        bias = torch.stack([w * branch.head.bias for w, branch in pairs]).sum(0)
        if self.sigmoid:
            return torch.cat((-weight / 2, weight / 2)), torch.cat((-bias / 2, bias / 2))
        return weight, bias

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> fused logits (B, C); dropout acts in training."""
        return self.all_logits(images)[0]

    def all_logits(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> (1 + branches, B, C): the fused logits, then each branch's."""
        x, _ = self._look(images)
        return self._fuse([branch(x) for branch in self._branches()])

    def _look(self, images: Tensor) -> tuple[Tensor, Place | None]:
        """uint8 (B, 1, S, S) -> what the branches see, -1 to 1, and where that lies."""
        x = normalise(images)
        return (x, None) if self.region is None else self.region(x)

    def logits_and_map(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `all_logits`, with the map of one label of each image, in one pass.

        Args:
            images: uint8 (B, 1, S, S).
            labels: int64 (B,).

        Returns:
            float (1 + branches, B, C), and float32 (B, h, w), the fused Grad-CAM++ map without
            dropout.
        """
        x, place = self._look(images)
        features = [branch.features(x) for branch in self._branches()]
        pairs = zip(self._branches(), features, strict=True)
        logits = self._fuse([branch.classify(own) for branch, own in pairs])
        maps = self._explain(torch.cat(features, 1)).saliency_map
        if place is not None:
            assert self.region is not None
            maps = self.region.over_input(maps, place)
        return logits, maps[torch.arange(len(labels), device=maps.device), labels]

    def _fuse(self, logits: list[Tensor]) -> Tensor:
        """Logits (B, C or 1) of every branch -> (1 + branches, B, C)."""
        own = torch.stack(logits)
        fused = (self.fusion()[:, None, None] * own).sum(0, keepdim=True)
        both = torch.cat((fused, own))
        return torch.cat((-both / 2, both / 2), 2) if self.sigmoid else both

    @torch.no_grad()
    def add_decoder(self, stride: int, channels: int) -> None:
        """Add a decoder of lesion masks, with random weights, on the backbone's own features.

        Args:
            stride: pixels of the input per cell of the mask: 4, 8 or 16.
            channels: of the decoder.

        Raises:
            ConfigError: several backbones, or one without features at the sizes that it reads.
        """
        if len(self.branches) > 1:
            raise ConfigError(f"mask.stride: 0 for several backbones, got {', '.join(self.names)}")
        (branch,) = self._branches()
        was_training = self.training
        probe = torch.zeros(1, 1, _PROBE, _PROBE, device=self.fusion_logits.device)
        _, maps = branch.eval().stages(probe)
        self.train(was_training)
        sides = {index: features.shape[2] for index, features in enumerate(maps)}
        self._stages = pick_stages(branch.name, sides, _PROBE, self.output_stride, stride)
        widths = [maps[index].shape[1] for index in self._stages]
        self.decoder = MaskDecoder(widths, channels).to(probe.device)

    def mask_logits(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> float32 (B, 1, h', w'); the network must have a mask."""
        if self.region is not None:
            return self.region.mask_logits(normalise(images))
        return self._decode(self._branches()[0].stages(normalise(images))[1])

    def _decode(self, maps: list[Tensor]) -> Tensor:
        assert self.decoder is not None
        return self.decoder([maps[index] for index in self._stages])  # type: ignore[no-any-return]

    def freeze(self, stages: int) -> None:
        """Exclude the stem and the first stages of every backbone from training.

        Raises:
            ConfigError: a backbone has fewer stages, or its stages are not known.
        """
        if self.region is not None:
            self.region.requires_grad_(False)
        if not stages:
            return
        for branch in self._branches():
            known = getattr(branch.backbone, "feature_info", ())
            names = [str(info["module"]) for info in known]
            if stages >= len(names):
                raise ConfigError(
                    f"frozen_stages: {branch.name} has {len(names)} stages, the last is trained"
                )
            # Parameters come in the order of the layers.
            frozen = True
            for name, parameter in branch.backbone.named_parameters():
                after = any(name.startswith(f"{other}.") for other in names[stages:])
                frozen = frozen and not after
                parameter.requires_grad_(not frozen)

    def explain(self, images: Tensor) -> ModelOutput:
        """uint8 (B, 1, S, S) -> logits, saliency map and feature vector in one pass."""
        x, place = self._look(images)
        if place is not None:
            assert self.region is not None
            seen = self._explain(self.features(x))
            maps = self.region.over_input(seen.saliency_map, place)
            return seen._replace(saliency_map=maps, lesion_mask=place.mask)
        if self.decoder is None:
            return self._explain(self.features(x))
        features, stages = self._branches()[0].stages(x)
        mask = self._decode(stages).sigmoid()
        return self._explain(features)._replace(lesion_mask=mask)

    def _explain(self, features: Tensor) -> ModelOutput:
        """Explain features (N, K, h, w), with the map's cells where a reader looks for them."""
        output = explain(features, *self.head())
        if self.output_stride == COARSEST:
            return output
        return output._replace(saliency_map=align(output.saliency_map, self._pads_behind))

    @property
    def has_mask(self) -> bool:
        """Whether `explain` gives a lesion mask."""
        return self.decoder is not None or self.region is not None

    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]


def build(recipe: Recipe) -> Ensemble:
    """Build the network of a recipe, with random weights.

    Raises:
        ConfigError: an unknown backbone or encoder.
    """
    classes = len(recipe.labels)
    network = Ensemble(
        recipe.backbones,
        classes,
        recipe.fusion,
        recipe.dropout,
        recipe.head,
        recipe.output_stride,
    )
    if recipe.mask.stride:
        network.add_decoder(recipe.mask.stride, recipe.mask.channels)
    if recipe.region is not None:
        from orthoedge.training.model.unet import UNet  # takes long to import

        unet = UNet(recipe.region.encoder, recipe.region.decoder)
        network.region = Region(unet, recipe.region.size)
    return network


def explain(features: Tensor, weight: Tensor, bias: Tensor) -> ModelOutput:
    """Logits and Grad-CAM++ maps of a GAP-linear head, in closed form.

    With Z = h·w the gradient of logit c by feature map k is the constant g = W_ck / Z, so
    Grad-CAM++ (Chattopadhay et al., WACV 2018, eq. 19) needs no backward pass.

    Args:
        features: (N, K, h, w).
        weight: (C, K).
        bias: (C,).
    """
    features = features.float()
    pooled = features.mean((2, 3))  # (N, K)
    logits = pooled @ weight.t() + bias  # (N, C)
    channel = grad_cam_weights(features, weight)  # (N, C, K)
    height, width = features.shape[2:]
    maps = torch.relu(channel @ features.flatten(2))  # (N, C, K) @ (N, K, hw) -> (N, C, hw)
    return ModelOutput(logits, maps.reshape(*maps.shape[:2], height, width), pooled)


def pads_behind(network: nn.Module) -> bool:
    """Whether strided convolutions are padded as in TensorFlow: one pixel more behind the image."""
    return any(isinstance(module, Conv2dSame) for module in network.modules())


def align(maps: Tensor, pads_behind: bool) -> Tensor:
    """Move a map of dilated convolutions to where the coarser map of the same weights lies.

    That map has the finer one's first cell of each pair, or with TensorFlow's padding its second,
    and stands for both: half a finer cell away from where it is. The mean of two neighbours lies
    there.

    Args:
        maps: (N, C, h, w).
        pads_behind: as of the network that made it.
    """
    for axis in (2, 3):
        count = maps.shape[axis]
        edge = maps.narrow(axis, count - 1 if pads_behind else 0, 1)
        longer = torch.cat((maps, edge) if pads_behind else (edge, maps), axis)
        maps = (longer.narrow(axis, 0, count) + longer.narrow(axis, 1, count)) / 2
    return maps


def grad_cam_weights(features: Tensor, weight: Tensor) -> Tensor:
    """Grad-CAM++ weight of every channel for every class: (N, K, h, w), (C, K) -> (N, C, K)."""
    cells = features.shape[2] * features.shape[3]
    gradient = weight / cells  # (C, K)
    total = features.sum((2, 3))[:, None, :]  # (N, 1, K)
    squared = gradient**2
    return torch.relu(gradient) * cells * squared / denominator(total, gradient)


def denominator(total: Tensor, gradient: Tensor) -> Tensor:
    """2g² + S g³ + ε, where the sum of the first two counts as g² at least.

    Grad-CAM++ divides g² by it and is meant for features that are not negative, where the quotient
    is ½ at most. For others it grows without limit towards W·mean(F) = -2 and is negative beyond.
    Here it ends at 1, which W·mean(F) = -1 reaches; up to there it is pytorch-grad-cam's.
    """
    squared = gradient**2
    return torch.maximum(2 * squared + total * gradient**3, squared) + _EPSILON
