"""The network: GAP-linear branches whose logits are added with learnable weights.

A branch is a backbone F, global average pooling and a linear head. Adding the logits of branches
with equally large maps is again one GAP-linear head over the concatenated features, so an ensemble
of two and a student of one branch have the same face, and every tool works on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from orthoedge.runtime.errors import RecipeError

_SCALE = 1 / 127.5
"""Pixels enter the network as x / 127.5 - 1 (mean and deviation 0.5), inside the exported graph."""

_PROBE = 192  # pixels: a multiple of 64, and not the 224 that a transformer may be fixed to
_EPSILON = 1e-6  # pytorch-grad-cam's, so that the two agree to rounding


class Explained(NamedTuple):
    """One forward pass with its explanation: the face of every exported graph."""

    logits: Tensor
    """float32 (N, C)."""
    saliency_map: Tensor
    """float32 (N, C, h, w), non-negative."""
    feature_vector: Tensor
    """float32 (N, K)."""


class Branch(nn.Module):
    """A timm backbone, global average pooling, dropout and a linear head."""

    def __init__(self, name: str, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.name = name
        try:
            backbone = timm.create_model(name, in_chans=1, num_classes=0, global_pool="")
        except RuntimeError as error:
            raise RecipeError(f"backbone: timm has no model named {name}") from error
        # MobileNetV3 and V4 put their last convolution behind pooling. `forward_features` stops
        # before it, which is cheaper and keeps the branch GAP-linear; what it skips is dropped.
        for unused in ("conv_head", "norm_head", "act2"):
            if type(backbone).__name__ == "MobileNetV3" and hasattr(backbone, unused):
                setattr(backbone, unused, nn.Identity())
        self.backbone: nn.Module = backbone
        self._check_map()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(backbone.num_features), classes)  # type: ignore[arg-type]

    @torch.no_grad()
    def _check_map(self) -> None:
        """Refuse backbones of tokens, of channels that come last, or of one size of image."""
        self.eval()  # so that neither random numbers nor running statistics are touched
        try:
            found = tuple(self.features(torch.zeros(1, 1, _PROBE, _PROBE)).shape)
        except (AssertionError, RuntimeError) as error:
            raise RecipeError(f"backbone: {self.name} does not take any size of image") from error
        self.train()
        if len(found) != 4 or found[1] != self.backbone.num_features:
            raise RecipeError(
                f"backbone: {self.name} gives features {found}, not a map (B, K, h, w): "
                "choose a convolutional network"
            )

    def features(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, K, h, w)."""
        return self.backbone.forward_features(x)  # type: ignore[no-any-return, operator]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C)."""
        return self.head(self.dropout(self.features(x).mean((2, 3))))  # type: ignore[no-any-return]


class Ensemble(nn.Module):
    """Branches fused by weights that start at `fusion`, stay positive and sum to one.

    Args:
        backbones: timm names; one makes a student, two or more an ensemble.
        classes: C.
        fusion: starting weight of each branch, positive; learned as a softmax.
        dropout: before each linear head, in training only.

    Raises:
        RecipeError: an unknown backbone, or weights that do not fit the backbones.
    """

    def __init__(
        self,
        backbones: Sequence[str],
        classes: int,
        fusion: Sequence[float] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        fusion = fusion or [1.0 / len(backbones)] * len(backbones)
        if len(fusion) != len(backbones) or min(fusion) <= 0:
            raise RecipeError(f"fusion: expected {len(backbones)} positive weights, got {fusion}")
        self.branches = nn.ModuleList(Branch(name, classes, dropout) for name in backbones)
        self.fusion_logits = nn.Parameter(torch.tensor(fusion).log())

    @property
    def names(self) -> tuple[str, ...]:
        """The timm names of the backbones."""
        return tuple(branch.name for branch in self._branches())

    def fusion(self) -> Tensor:
        """(branches,) weights, positive, sum 1."""
        return self.fusion_logits.softmax(0)

    def features(self, x: Tensor) -> Tensor:
        """Map float (B, 1, S, S) to (B, K, h, w), the branches' features concatenated.

        Raises:
            RecipeError: the branches' maps differ in size, so their sum is not GAP-linear.
        """
        maps = [branch.features(x) for branch in self._branches()]
        if len({tuple(m.shape[2:]) for m in maps}) > 1:
            sizes = ", ".join(
                f"{branch.name} {tuple(m.shape[2:])}"
                for branch, m in zip(self._branches(), maps, strict=True)
            )
            raise RecipeError(f"backbones: feature maps must be equally large, got {sizes}")
        return torch.cat(maps, 1)

    def head(self) -> tuple[Tensor, Tensor]:
        """W (C, K) and b (C,) of the one linear head the fused branches amount to."""
        weights = self.fusion()
        pairs = list(zip(weights, self._branches(), strict=True))
        weight = torch.cat([w * branch.head.weight for w, branch in pairs], 1)
        bias = torch.stack([w * branch.head.bias for w, branch in pairs]).sum(0)
        return weight, bias

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 1, S, S) -> fused logits (B, C); dropout acts in training."""
        x = normalise(images)
        logits = torch.stack([branch(x) for branch in self._branches()])  # (branches, B, C)
        return (self.fusion()[:, None, None] * logits).sum(0)

    def explain(self, images: Tensor) -> Explained:
        """uint8 (B, 1, S, S) -> logits, saliency map and feature vector in one pass."""
        return explain(self.features(normalise(images)), *self.head())

    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]


def normalise(images: Tensor) -> Tensor:
    """Scale uint8 (B, 1, S, S) to float32, -1 to 1."""
    return images.float() * _SCALE - 1


def explain(features: Tensor, weight: Tensor, bias: Tensor) -> Explained:
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
    return Explained(logits, maps.reshape(*maps.shape[:2], height, width), pooled)


def grad_cam_weights(features: Tensor, weight: Tensor) -> Tensor:
    """Grad-CAM++ weight of every channel for every class: (N, K, h, w), (C, K) -> (N, C, K)."""
    cells = features.shape[2] * features.shape[3]
    gradient = weight / cells  # (C, K)
    total = features.sum((2, 3))[:, None, :]  # (N, 1, K)
    squared = gradient**2
    return torch.relu(gradient) * cells * squared / denominator(total, gradient)


def denominator(total: Tensor, gradient: Tensor) -> Tensor:
    """2g² + S g³ + ε. It stays positive while S·g > -2, that is while W·mean(F) > -2."""
    return 2 * gradient**2 + total * gradient**3 + _EPSILON
