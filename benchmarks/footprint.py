"""What it takes to carry and to start a target: sizes, starts, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orthoedge.benchmarks.installed import environment_bytes, wheel_bytes
from orthoedge.benchmarks.quantiles import quantiles
from orthoedge.benchmarks.records import Footprint, Missing, Quantiles
from orthoedge.benchmarks.starts import Child, first_findings
from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError, MissingDependency

_MB = 1e6


def footprint(
    bundle: Bundle, target: str, precision: Precision, radiograph: Path, threads: int, starts: int
) -> tuple[Footprint, tuple[Missing, ...]]:
    """Sizes, starts in fresh processes, and peak memory of one target and precision.

    Starts find Python's bytecode compiled and files in the system's memory, as on a device that
    has been started before. Peak memory is VmHWM after the first finding, the median over starts.

    Args:
        bundle: what to start.
        target: see `open_engine`.
        precision: see `open_engine`.
        radiograph: file that a start is to find something on.
        threads: inference threads.
        starts: how many processes; as many again with a compile cache.
    """
    missing = []
    environment, cold, cached, peak = None, None, None, None
    try:
        environment = environment_bytes(target) / _MB
    except (EngineError, MissingDependency) as error:
        missing.append(Missing(what=f"{target} {precision}: environment", why=str(error)))
    try:
        with first_findings(bundle.path, radiograph, threads, target, precision) as children:
            cold, peak = _started(children["compiled"], starts)
            if "from the cache" in children:
                cached, _ = _started(children["from the cache"], starts)
    except EngineError as error:
        missing.append(Missing(what=f"{target} {precision}: starts", why=str(error)))
    return (
        Footprint(
            target=target,
            precision=precision,
            model_mb=len(bundle.model(precision)) / _MB,
            bundle_mb=_size(bundle.path) / _MB,
            wheel_mb=wheel_bytes() / _MB,
            environment_mb=environment,
            cold_start_ms=cold,
            cached_start_ms=cached,
            peak_rss_mb=peak,
        ),
        tuple(missing),
    )


def _started(child: Child, starts: int) -> tuple[Quantiles, float]:
    """Times to the first finding, and the median peak memory in MB."""
    child.run()  # compiles bytecode and fills the cache
    runs = [child.run() for _ in range(starts)]
    peaks = [int(last) * 1024 / _MB for _, last in runs]
    return quantiles(np.array([taken for taken, _ in runs])), float(np.median(peaks))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
