"""Training throughput: the loop's steps beside the bare forward-backward step, in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from orthoedge.benchmarks.timing.latency import (
    Ratio,
    Timings,
    interleaved,
    ratio,
)
from orthoedge.runtime.errors import ConfigError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.distributed import open_fabric
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe import Recipe
from orthoedge.training.step import Stepper


@dataclass(frozen=True)
class Throughput:
    """What a recipe's training reaches on this machine."""

    images: int
    """Per timed stretch of steps."""
    loop: Timings
    """Stretches of the loop: batches, augmentation, loss, clipping, optimizer, moving average."""
    bare: Timings
    """As many forward, backward and optimizer steps on one batch that lies ready."""
    share: Ratio
    """Images per second of the loop over those of the bare steps."""

    def line(self) -> str:
        """Both rates and their ratio with its 95 % interval."""
        loop, bare = (self.images / part.p50 * 1000 for part in (self.loop, self.bare))
        return (
            f"loop {loop:.1f} images/s, bare step {bare:.1f} images/s, ratio {self.share.p50:.3f} "
            f"(95 % {self.share.low:.3f} to {self.share.high:.3f})"
        )


def throughput(recipe: Recipe, steps: int, rounds: int) -> Throughput:
    """Time stretches of both in turn.

    A stretch of the loop begins with no batch ready, as an epoch does: what a thread prepared while
    the bare steps ran would be a present.

    Args:
        recipe: what to train; its pixels are noise, which costs the same.
        steps: of a stretch.
        rounds: stretches of each.

    Raises:
        RecipeError: an unknown backbone, or several networks to compare.
    """
    if recipe.combine == "compare" and len(recipe.backbones) > 1:
        raise ConfigError("combine: compared networks are timed one by one: --set backbones=NAME")
    fabric = open_fabric(recipe)
    data = _noise(recipe, steps * recipe.batch)
    device = fabric.device

    def sync() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def placed() -> Stepper:
        network = build(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        count = steps_per_epoch(len(data), recipe.batch)
        return Stepper(recipe, network, fabric, data.labels, count)

    stepper, plain = placed(), placed()
    images, truth = fabric.to_device(next(batches(data, recipe, 0)))

    def loop() -> None:
        stepper.model.train()
        totals = torch.zeros(3, device=device)
        for step, batch in enumerate(batches(data, recipe, 1)):
            totals += stepper(*batch, 1, step)
        totals.tolist()

    def bare() -> None:
        plain.model.train()
        for _ in range(steps):
            loss = F.cross_entropy(plain.model(images), truth)
            plain.optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            plain.optimizer.step()
        sync()

    times = interleaved({"loop": loop, "bare": bare}, rounds=rounds, warmup=1, warmup_calls=0)
    share = ratio(times["bare"], times["loop"])
    return Throughput(steps * recipe.batch, times["loop"], times["bare"], share)


def _noise(recipe: Recipe, count: int) -> RadiographDataset:
    """Images of noise, in memory, with every label equally often."""
    data = RadiographDataset((), recipe.labels, recipe.preprocess, progress=False)
    shape = (count, recipe.preprocess.size, recipe.preprocess.size)
    data.images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data.labels = np.arange(count) % len(recipe.labels)
    data.boxes = ((),) * count
    return data
