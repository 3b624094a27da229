"""Device, threads and processes of a training run."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.loop.precision import is_launched, training_precision
from orthoedge.training.recipe import Recipe

# Other processes wait while the first one validates or reads; torchrun ends all if it fails.
_PATIENCE = timedelta(days=1)


def open_fabric(recipe: Recipe, precision: str = "") -> Fabric:
    """Set up this process, alone or as one of those that `torchrun` started.

    Args:
        recipe: threads, batch and seed.
        precision: of the training steps, see `starting_precision`; empty: unmeasured.

    Raises:
        ConfigError: the batch cannot be divided evenly among the processes.
    """
    launched = is_launched()
    processes = int(os.environ["WORLD_SIZE"]) if launched else 1
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if launched else 1
    if recipe.batch % processes:
        raise ConfigError(f"batch: {recipe.batch} images cannot be shared by {processes} processes")
    torch.set_num_threads(recipe.threads or max(1, (os.cpu_count() or 1) // here))
    # static_graph finds the layers without gradients once. Buffers need no broadcast: batch
    # normalization uses the whole batch, so they are equal in every process.
    shared = DDPStrategy(timeout=_PATIENCE, static_graph=True, broadcast_buffers=False)
    fabric = Fabric(
        accelerator="auto",
        devices=here,
        num_nodes=processes // here,
        strategy=shared if processes > 1 else "auto",
        precision=precision or training_precision(recipe),  # type: ignore[arg-type]
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    return fabric
