"""One step of training, whatever is learned: learning rate, gradient, moving average."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from orthoedge.training.data.loader import Batch
from orthoedge.training.model.batch_norm import share_batch_norms
from orthoedge.training.recipe import Recipe

Network = TypeVar("Network", bound=nn.Module)


class Stepper(ABC, Generic[Network]):
    """A network in training: optimizer and moving average. A subclass has the loss.

    Args:
        recipe: every setting.
        network: on its device; with several processes, its batch normalization is shared.
        fabric: of this process.
        steps: per epoch.
        forward_methods: methods of the network that `loss` calls, besides `forward`.
    """

    backbone_part: ClassVar[str]
    """Part of the names of the parameters that `backbone_lr` and `frozen_epochs` are about."""

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        fabric: Fabric,
        steps: int,
        forward_methods: Sequence[str] = (),
    ) -> None:
        self.recipe, self.fabric, self.steps = recipe, fabric, steps
        if fabric.world_size > 1:
            share_batch_norms(network)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        groups = _groups(network, self.backbone_part)
        optimizer = kind(groups, weight_decay=recipe.weight_decay, fused=True)
        self.network = network
        self.average = ModelEmaV3(network, recipe.ema, use_warmup=True) if recipe.ema else None
        self.model, self.optimizer = fabric.setup(network, optimizer)
        for method in forward_methods:  # so that DDP synchronises their gradients
            self.model.mark_forward_method(method)

    @property
    def validated(self) -> Network:
        """The network to validate and save: the moving average if there is one."""
        return self.network if self.average is None else self.average.module  # type: ignore[return-value]

    @abstractmethod
    def loss(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Loss of one batch on the device.

        Args:
            batch: this process's share.
            epoch: from 1.
            step: of the epoch, from 0.

        Returns:
            The loss whose gradient is followed; and without gradient, float32 (3,): the loss to
            report × B, the score to report × B, and B.
        """

    def __call__(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: this process's share.
            epoch: from 1.
            step: of the epoch, from 0.

        Returns:
            float32 (3,), as of `loss`. Left on the device, so that nothing waits for it.
        """
        recipe = self.recipe
        done = epoch - 1 + (step + 1) / self.steps
        rate = learning_rate(recipe, done)
        for group in self.optimizer.param_groups:
            frozen = group["backbone"] and done <= recipe.frozen_epochs
            group["lr"] = 0.0 if frozen else rate * (recipe.backbone_lr if group["backbone"] else 1)
        loss, reported = self.loss(Batch(*self.fabric.to_device(tuple(batch))), epoch, step)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if recipe.gradient_clip:
            # An infinite loss is no error here: the loop reports it after the epoch.
            limits = {"max_norm": recipe.gradient_clip, "error_if_nonfinite": False}
            self.fabric.clip_gradients(self.model, self.optimizer, **limits)  # type: ignore[arg-type]
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step=(epoch - 1) * self.steps + step + 1)
        return reported.detach()


def _groups(network: nn.Module, backbone_part: str) -> list[dict[str, Any]]:
    """Parameters of the backbones, without frozen ones, and all others."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    backbone = {name for name in trained if backbone_part in name}
    return [
        {"params": [p for n, p in trained.items() if n in backbone], "lr": 0.0, "backbone": True},
        {
            "params": [p for n, p in trained.items() if n not in backbone],
            "lr": 0.0,
            "backbone": False,
        },
    ]


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate after `epoch` epochs: a linear warm-up, then constant or half a cosine to 0."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    done = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
