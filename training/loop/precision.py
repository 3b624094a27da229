"""The precision of a run's steps: what `auto` stands for, measured where it depends on the machine.

Validation and test are always in float32. A run keeps what it began with: `--resume` reads it from
report.json.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from orthoedge.runtime.settings import plain
from orthoedge.training import run_folder as folder
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import RunInfo

_BATCH = 8  # of the measurement: enough to fill the threads, and quick
_STEPS = 3  # timed, of which the shortest counts


def starting_precision(
    recipe: Recipe, build: Callable[[], nn.Module], run: Path | None = None
) -> tuple[str, str]:
    """Choose the precision of a run that begins or goes on.

    With several processes nothing is measured or read, because all must choose the same.

    Args:
        recipe: its `precision` may be `auto`.
        build: builds the network, uint8 (B, 1, S, S) -> floats, for the measurement.
        run: the folder of the run to resume; None: it begins.

    Returns:
        Fabric's name of it, and the measurement in a sentence; empty where nothing was measured.

    Raises:
        DataError: the report of the run to resume is damaged.
    """
    if is_launched():
        return training_precision(recipe), ""
    if run is not None and (run / folder.REPORT).is_file():
        return folder.read_record(run / folder.REPORT, RunInfo).precision, ""
    if recipe.precision != "auto" or torch.cuda.is_available() or not _has("bf16"):
        return training_precision(recipe), ""
    single, half = _step_seconds(recipe, build)
    return (
        "bf16-mixed" if half < single else "32-true",
        f"a step on {min(_BATCH, recipe.batch)} images takes {plain(single, 3)} s in float32 and "
        f"{plain(half, 3)} s in bfloat16",
    )


def training_precision(recipe: Recipe) -> str:
    """Resolve `auto` without measuring: bf16-mixed on GPUs that have it and with AMX, else 32-true.

    With AVX-512's bfloat16 but without AMX, float32 was as fast or faster at these sizes.
    """
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if _has("amx_bf16") else "32-true"


def is_launched() -> bool:
    """Whether `torchrun` started this process."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _has(instructions: str) -> bool:
    """Whether an instruction set whose name contains this is there; older torch does not say."""
    probe: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return any(present is True for name, present in probe().items() if instructions in name)


def _step_seconds(recipe: Recipe, build: Callable[[], nn.Module]) -> tuple[float, float]:
    """Shortest time of a forward and a backward pass in float32 and in bfloat16, in turns."""
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    side = recipe.augment.crop or recipe.preprocess.size
    shape = min(_BATCH, recipe.batch), 1, side, side
    with torch.random.fork_rng(devices=()):
        network = build().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(1 + _STEPS):
            for is_half, taken in times.items():
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                    loss = network(images).float().square().mean()
                network.zero_grad(set_to_none=True)
                loss.backward()
                taken.append(time.perf_counter() - start)
    return min(times[False][1:]), min(times[True][1:])
