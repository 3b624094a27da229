"""Curves of time and memory over image size, batch, classes, threads and files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from orthoedge.benchmarks.run_settings import Mode
from orthoedge.benchmarks.scaling.by_size import time_by_pixels
from orthoedge.benchmarks.scaling.engine import BATCH, CLASSES, THREADS, engine_memory, engine_time
from orthoedge.benchmarks.scaling.files import by_files, by_files_in_jobs
from orthoedge.benchmarks.scaling.memory import memory_by_pixels
from orthoedge.benchmarks.scaling.settings import SCOPES, Curves, ScalingSetup
from orthoedge.benchmarks.schema import ScalingCurve, Skipped
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.settings import plain

PARTS: dict[str, Callable[[ScalingSetup], Curves]] = {
    "time by pixels": time_by_pixels,
    "time by classes": partial(engine_time, by=CLASSES),
    "time by images at once": partial(engine_time, by=BATCH),
    "time by threads": partial(engine_time, by=THREADS),
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
    """Measure part by part; no part begins after the mode's time limit.

    Yields:
        The curves of a part, and those that were skipped.
    """
    scope = SCOPES[mode]
    until = _clock() + scope.limit_s
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        setup = ScalingSetup(bundle, target, precision, threads, scope, Path(name))
        for part, measure in PARTS.items():
            curves: list[ScalingCurve] = []
            reasons = {}
            if part in _LONG and not scope.everything:
                reasons = {part: f"takes too long for --{mode}"}
            elif _clock() > until:
                reasons = {part: f"the time limit of {plain(scope.limit_s)} s for scaling was over"}
            else:
                try:
                    curves, skipped = measure(setup)
                    reasons = {skip.name: skip.reason for skip in skipped}
                except OrthoEdgeError as error:
                    reasons = {part: str(error)}
            yield curves, [Skipped(name=f"scaling: {n}", reason=r) for n, r in reasons.items()]
