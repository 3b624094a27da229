"""Device, precision, threads and processes of a training run."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.recipe import Recipe

# Other processes wait while the first one validates or reads; torchrun ends all if it fails.
_PATIENCE = timedelta(days=1)


def open_fabric(recipe: Recipe) -> Fabric:
    """Set up this process, alone or as one of those that `torchrun` started.

    Raises:
        ConfigError: the batch cannot be divided evenly among the processes.
    """
    launched = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
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
        precision=training_precision(recipe),  # type: ignore[arg-type]
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    return fabric


def training_precision(recipe: Recipe) -> str:
    """Resolve `auto` to bf16-mixed where bfloat16 is faster, else to 32-true."""
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # With AVX-512's bfloat16 but without AMX, float32 was as fast or faster at these sizes.
    # Older torch does not report AMX, so it trains in float32.
    probe: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return "bf16-mixed" if probe().get("amx_bf16") else "32-true"
