"""The loss of a classifier on one batch, shared by training and its throughput benchmark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from orthoedge.training.data.loader import Batch, class_weights
from orthoedge.training.loop.step import Stepper
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe

NEVER = -1e4
"""Logit of a label that a source cannot have."""
_TINY = 1e-6


class ClassifierStepper(Stepper[Ensemble]):
    """A classifier in training.

    Args:
        recipe: every setting.
        network: on its device; with several processes, its batch normalization is shared.
        fabric: of this process.
        labels: int (N,), classes of the training images.
        steps: per epoch.
    """

    backbone_part = ".backbone."

    def __init__(
        self,
        recipe: Recipe,
        network: Ensemble,
        fabric: Fabric,
        labels: npt.NDArray[np.int64],
        steps: int,
    ) -> None:
        network.freeze(recipe.frozen_stages)
        super().__init__(recipe, network, fabric, steps, ("all_logits", "logits_and_map"))
        self.weights = class_weights(labels, len(recipe.labels), recipe).to(fabric.device)

    def loss(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Cross-entropy with the recipe's other terms; reports that of the fused logits and hits.

        Arguments and result as of `Stepper.loss`.
        """
        recipe = self.recipe
        images, truth, allowed, lesion = batch
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
        fused = self._cross_entropy(logits, targets)
        loss = fused
        if beside is not None:
            loss = loss + recipe.map_weight * beside
        if recipe.branch_loss and len(branches) > 1:
            own = torch.stack([self._cross_entropy(branch, targets) for branch in branches])
            loss = loss + recipe.branch_loss * own.mean()
        with torch.no_grad():
            hits = (logits.argmax(1) == truth).sum()
            seen = torch.full_like(fused, len(truth))
            return loss, torch.stack((fused * len(truth), hits.to(fused), seen))

    def _cross_entropy(self, logits: Tensor, targets: list[tuple[Tensor, float]]) -> Tensor:
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
        lesion: uint8 (B, s, s), above 0 in the lesion. Images without one do not count.

    Returns:
        A scalar; 0 where no image has a lesion.
    """
    # Every cell that it touches; a drawn mask has values up to 255.
    inside = F.adaptive_max_pool2d((lesion > 0).float(), maps.shape[1:])
    energy = maps.float() ** 2
    marked = inside.flatten(1).any(1)
    share = (energy * inside).sum((1, 2)) / (energy.sum((1, 2)) + _TINY)
    terms = -torch.log(share.clamp(_TINY, 1)) * marked
    return terms.sum() / marked.sum().clamp(min=1)


def neighbours(count: int) -> Tensor:
    """Index of each image's partner in mixup: 1 0 3 2 ...; a last odd one is its own partner.

    A batch is in random order, so this mixes as well as a permutation, and a process with an even
    share of the batch mixes it as the whole batch would be mixed.
    """
    return (torch.arange(count) ^ 1).clamp(max=count - 1)
