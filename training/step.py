"""One step of training, shared by the training loop and its throughput benchmark."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.nn import functional as F

from orthoedge.training.data.loader import Batch, class_weights
from orthoedge.training.model.batch_norm import share_batch_norms
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe

NEVER = -1e4
"""Logit of a label that a source cannot have."""
_TINY = 1e-6


class Stepper:
    """A network in training: optimizer, moving average, and the loss of a batch.

    Args:
        recipe: every setting.
        network: on its device; with several processes, its batch normalization is shared.
        fabric: of this process.
        labels: int (N,), classes of the training images.
        steps: per epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Ensemble,
        fabric: Fabric,
        labels: npt.NDArray[np.int64],
        steps: int,
    ) -> None:
        self.recipe, self.fabric, self.steps = recipe, fabric, steps
        if fabric.world_size > 1:
            share_batch_norms(network)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        optimizer = kind(_groups(network, recipe), weight_decay=recipe.weight_decay, fused=True)
        self.network = network
        self.average = ModelEmaV3(network, recipe.ema, use_warmup=True) if recipe.ema else None
        self.model, self.optimizer = fabric.setup(network, optimizer)
        for method in ("all_logits", "logits_and_map"):  # so that DDP synchronises their gradients
            self.model.mark_forward_method(method)
        self.weights = class_weights(labels, len(recipe.labels), recipe).to(fabric.device)

    @property
    def validated(self) -> Ensemble:
        """The network to validate and save: the moving average if there is one."""
        return self.network if self.average is None else self.average.module  # type: ignore[no-any-return]

    def __call__(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: this process's share.
            epoch: from 1.
            step: of the epoch, from 0.

        Returns:
            float32 (3,): loss of the fused logits × B, correct predictions, B. Left on the device,
            so that nothing waits for it.
        """
        recipe = self.recipe
        done = epoch - 1 + (step + 1) / self.steps
        rate = learning_rate(recipe, done)
        for group in self.optimizer.param_groups:
            frozen = group["backbone"] and done <= recipe.frozen_epochs
            group["lr"] = 0.0 if frozen else rate * (recipe.backbone_lr if group["backbone"] else 1)
        images, truth, allowed, lesion = self.fabric.to_device(tuple(batch))
        targets = [(truth, 1.0)]
        if recipe.mixup:
            rng = np.random.default_rng((recipe.seed, epoch, step, 1))
            weight = float(rng.beta(recipe.mixup, recipe.mixup))
            other = neighbours(len(truth)).to(truth.device)
            images = torch.lerp(images[other].float(), images.float(), weight)
            targets = [(truth, weight), (truth[other], 1 - weight)]
        beside = None
        if recipe.map_weight:
            outputs, shown = self.model.logits_and_map(images, truth)
            beside = lesion_loss(shown, lesion)
        else:
            outputs = self.model.all_logits(images)
        logits, *branches = outputs.masked_fill(~allowed, NEVER)  # (B, C) each
        fused = self._loss(logits, targets)
        loss = fused
        if beside is not None:
            loss = loss + recipe.map_weight * beside
        if recipe.branch_loss and len(branches) > 1:
            own = torch.stack([self._loss(branch, targets) for branch in branches])
            loss = loss + recipe.branch_loss * own.mean()
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if recipe.gradient_clip:
            # An infinite loss is no error here: the loop reports it after the epoch.
            limits = {"max_norm": recipe.gradient_clip, "error_if_nonfinite": False}
            self.fabric.clip_gradients(self.model, self.optimizer, **limits)  # type: ignore[arg-type]
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step=(epoch - 1) * self.steps + step + 1)
        with torch.no_grad():
            hits = (logits.argmax(1) == truth).sum()
            seen = torch.full_like(fused, len(truth))
            return torch.stack((fused * len(truth), hits.to(fused), seen)).detach()

    def _loss(self, logits: Tensor, targets: list[tuple[Tensor, float]]) -> Tensor:
        """Cross-entropy, weighted by class, as the mean over the batch of all processes.

        Each process multiplies its share by their number, because DDP averages the gradients.
        """
        loss, weight = logits.new_zeros(()), self.weights.new_zeros(())
        for labels, share in targets:
            total = F.cross_entropy(logits, labels, weight=self.weights, reduction="sum")
            loss, weight = loss + share * total, weight + share * self.weights[labels].sum()
        processes = self.fabric.world_size
        if processes > 1:
            weight = self.fabric.all_reduce(weight, reduce_op="sum")  # type: ignore[assignment]
        return loss * processes / weight


def lesion_loss(maps: Tensor, lesion: Tensor) -> Tensor:
    """Mean of -log of the share of the squared map that lies in the lesion.

    Args:
        maps: float32 (B, h, w), not negative: Grad-CAM++ of the true labels.
        lesion: uint8 (B, 64, 64), 1 in the lesion. Images without one do not count.

    Returns:
        A scalar; 0 where no image has a lesion.
    """
    inside = F.adaptive_max_pool2d(lesion.float(), maps.shape[1:])  # every cell that it touches
    energy = maps.float() ** 2
    marked = inside.flatten(1).any(1)
    share = (energy * inside).sum((1, 2)) / (energy.sum((1, 2)) + _TINY)
    terms = -torch.log(share.clamp(_TINY, 1)) * marked
    return terms.sum() / marked.sum().clamp(min=1)


def _groups(network: Ensemble, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters of the backbones, without frozen stages, and all others."""
    network.freeze(recipe.frozen_stages)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    backbone = {name for name in trained if ".backbone." in name}
    return [
        {"params": [p for n, p in trained.items() if n in backbone], "lr": 0.0, "backbone": True},
        {
            "params": [p for n, p in trained.items() if n not in backbone],
            "lr": 0.0,
            "backbone": False,
        },
    ]


def neighbours(count: int) -> Tensor:
    """Index of each image's partner in mixup: 1 0 3 2 ...; a last odd one is its own partner.

    A batch is in random order, so this mixes as well as a permutation, and a process with an even
    share of the batch mixes it as the whole batch would be mixed.
    """
    return (torch.arange(count) ^ 1).clamp(max=count - 1)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate after `epoch` epochs: a linear warm-up, then constant or half a cosine to 0."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    done = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
