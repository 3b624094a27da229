"""How time and memory grow: with the image, the batch, the classes, the threads, the files."""

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
from orthoedge.benchmarks.scaling.settings import SCOPES, Found, ScalingSetup
from orthoedge.benchmarks.schema import Skipped
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import OrthoEdgeError

PARTS: dict[str, Callable[[ScalingSetup], Found]] = {
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
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Found]:
    """Measure part by part.

    Args:
        bundle: whose hashes were checked.
        target: see `open_engine`.
        precision: see `open_engine`.
        threads: of the engine.
        mode: how much, and for how long; no part is begun after the time that the mode has for it.
        clock: returns seconds.

    Yields:
        The curves of a part, and what of it could not be had.
    """
    scope = SCOPES[mode]
    until = clock() + scope.limit_s
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        given = ScalingSetup(bundle, target, precision, threads, scope, Path(name))
        for part, measure in PARTS.items():
            why = ""
            if part in _LONG and not scope.everything:
                why = f"takes too long for --{mode}"
            elif clock() > until:
                why = f"scaling has {scope.limit_s:g} s, which were over"
            yield ([], [_lacking(part, why)]) if why else _measured(part, measure, given)


def _measured(part: str, measure: Callable[[ScalingSetup], Found], given: ScalingSetup) -> Found:
    try:
        found, skipped = measure(given)
    except OrthoEdgeError as error:
        return [], [_lacking(part, str(error))]
    return found, [_lacking(one.name, one.reason) for one in skipped]


def _lacking(what: str, why: str) -> Skipped:
    return Skipped(name=f"scaling: {what}", reason=why)
