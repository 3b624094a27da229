"""Curves of time and memory over image size, batch, classes, threads and files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orthoedge.benchmarks.run_settings import Mode
from orthoedge.benchmarks.scaling.by_size import time_by_pixels
from orthoedge.benchmarks.scaling.engine import (
    engine_memory,
    time_by_batch,
    time_by_classes,
    time_by_threads,
)
from orthoedge.benchmarks.scaling.files import by_files, by_files_in_jobs
from orthoedge.benchmarks.scaling.memory import memory_by_pixels
from orthoedge.benchmarks.scaling.settings import SCOPES, Curves, ScalingSetup
from orthoedge.benchmarks.schema import Skipped
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import OrthoEdgeError

PARTS: dict[str, Callable[[ScalingSetup], Curves]] = {
    "time by pixels": time_by_pixels,
    "time by classes": time_by_classes,
    "time by images at once": time_by_batch,
    "time by threads": time_by_threads,
    "memory by pixels": memory_by_pixels,
    "predict FOLDER": by_files,
    "memory of an engine": engine_memory,
    "predict FOLDER --jobs": by_files_in_jobs,
}
_LONG = ("memory by pixels", "predict FOLDER", "memory of an engine", "predict FOLDER --jobs")


def scaling_curves(
    bundle: Bundle,
    target: str,
    precision: Precision,
    threads: int,
    mode: Mode,
    _clock: Callable[[], float] = time.monotonic,
) -> Iterator[Curves]:
    """Measure part by part.

    Args:
        bundle: whose hashes were checked.
        target: see `open_engine`.
        precision: see `open_engine`.
        threads: of the engine.
        mode: how much, and for how long; no part begins after the mode's time limit.

    Yields:
        The curves of a part, and those that were skipped.
    """
    scope = SCOPES[mode]
    until = _clock() + scope.limit_s
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        setup = ScalingSetup(bundle, target, precision, threads, scope, Path(name))
        for part, measure in PARTS.items():
            reason = ""
            if part in _LONG and not scope.everything:
                reason = f"takes too long for --{mode}"
            elif _clock() > until:
                reason = f"the time limit of {scope.limit_s:g} s for scaling was over"
            yield ([], [_skipped(part, reason)]) if reason else _measured(part, measure, setup)


def _measured(part: str, measure: Callable[[ScalingSetup], Curves], setup: ScalingSetup) -> Curves:
    try:
        curves, skipped = measure(setup)
    except OrthoEdgeError as error:
        return [], [_skipped(part, str(error))]
    return curves, [_skipped(skip.name, skip.reason) for skip in skipped]


def _skipped(name: str, reason: str) -> Skipped:
    return Skipped(name=f"scaling: {name}", reason=reason)
