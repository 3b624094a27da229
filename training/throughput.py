"""Training throughput: the training loop compared with the bare forward-backward step.

Both are timed in interleaved stretches. Timed step by step instead, the loop's threads would
prepare batches while the bare step runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from orthoedge.benchmarks.timing.latency import Ratio, Timings, interleaved, ratio
from orthoedge.runtime.errors import ConfigError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.loop.distributed import open_fabric
from orthoedge.training.loop.precision import starting_precision
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe import Recipe
from orthoedge.training.step import ClassifierStepper


@dataclass(frozen=True)
class Throughput:
    """Training speed of a recipe on this machine."""

    images: int
    """Per timed stretch of steps."""
    precision: str
    """Of the steps."""
    loop: Timings
    """Stretches of the loop: batches, augmentation, loss, clipping, optimizer, moving average."""
    bare: Timings
    """As many forward, backward and optimizer steps on one batch that is ready."""
    share: Ratio
    """Images per second of the loop over those of the bare steps."""

    def line(self) -> str:
        """Return precision, both rates and their ratio with its 95 % interval."""
        loop, bare = (self.images / timings.p50 * 1000 for timings in (self.loop, self.bare))
        return (
            f"{self.precision}, loop {loop:.1f} images/s, bare step {bare:.1f} images/s, ratio "
            f"{self.share.p50:.3f} (95 % {self.share.low:.3f} to {self.share.high:.3f})"
        )


def throughput(recipe: Recipe, steps: int, rounds: int) -> Throughput:
    """Time the loop and the bare step in turn.

    A stretch of the loop begins without a prepared batch, as an epoch does.

    Args:
        recipe: what to train; its pixels are noise, which costs the same.
        steps: of a stretch.
        rounds: stretches of each.

    Raises:
        ConfigError: an unknown backbone, or several networks to compare.
    """
    if recipe.combine == "compare" and len(recipe.backbones) > 1:
        raise ConfigError("combine: networks are timed individually; give --set backbones=NAME")
    precision, _ = starting_precision(recipe, lambda: build(recipe))
    fabric = open_fabric(recipe, precision)
    data = _noise(recipe, steps * recipe.batch)
    device = fabric.device

    def placed() -> ClassifierStepper:
        network = build(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        count = steps_per_epoch(len(data), recipe.batch)
        return ClassifierStepper(recipe, network, fabric, data.labels, count)

    stepper, plain = placed(), placed()
    first = next(batches(data, recipe, 0))
    images, truth = fabric.to_device((first.images, first.truth))

    def loop() -> None:
        stepper.model.train()
        totals = torch.zeros(3, device=device)
        for step, batch in enumerate(batches(data, recipe, 1)):
            totals += stepper(batch, 1, step)
        totals.tolist()

    def bare() -> None:
        plain.model.train()
        for _ in range(steps):
            loss = F.cross_entropy(plain.model(images), truth)
            plain.optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            plain.optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times = interleaved({"loop": loop, "bare": bare}, rounds=rounds, warmup=1, warmup_calls=0)
    share = ratio(times["bare"], times["loop"])
    return Throughput(steps * recipe.batch, precision, times["loop"], times["bare"], share)


def _noise(recipe: Recipe, count: int) -> RadiographDataset:
    """Images of noise in memory, with equally frequent labels."""
    data = RadiographDataset((), recipe.labels, recipe.preprocess, progress=False)
    side = recipe.augment.read_size or recipe.preprocess.size
    data.images = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    data.labels = np.arange(count) % len(recipe.labels)
    data.boxes = ((),) * count
    data.allowed = np.ones((count, len(recipe.labels)), bool)
    return data
