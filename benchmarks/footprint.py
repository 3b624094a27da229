"""What it takes to carry and to start a target: sizes, starts, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orthoedge.benchmarks.installed import environment_bytes, wheel_bytes
from orthoedge.benchmarks.latency import ratio_over_processes
from orthoedge.benchmarks.quantiles import quantiles
from orthoedge.benchmarks.records import Footprint, Interval, Missing, Quantiles
from orthoedge.benchmarks.starts import IMPORT_BASE, Child, first_findings, installed
from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError, MissingDependency

_MB = 1e6
_YARDSTICK = "numpy and OpenCV"


def footprint(
    bundle: Bundle, target: str, precision: Precision, radiograph: Path, threads: int, starts: int
) -> tuple[Footprint, tuple[Missing, ...]]:
    """Sizes, starts in fresh processes, and peak memory of one target and precision.

    Starts find Python's bytecode compiled and files in the system's memory, as on a device that
    has been started before. A process that imports numpy and OpenCV takes turns with them: how long
    a start takes drifts with the machine, and their ratio far less. Peak memory is VmHWM after the
    first finding, the median over starts.

    Args:
        bundle: what to start.
        target: see `open_engine`.
        precision: see `open_engine`.
        radiograph: file that a start is to find something on.
        threads: inference threads.
        starts: how many processes; as many again with a compile cache.
    """
    missing = []
    environment, peak = None, None
    times: dict[str, list[float]] = {}
    try:
        environment = environment_bytes(target) / _MB
    except (EngineError, MissingDependency) as error:
        missing.append(Missing(what=f"{target} {precision}: environment", why=str(error)))
    try:
        with (
            installed() as variables,
            first_findings(bundle.path, radiograph, threads, target, precision) as children,
        ):
            yardstick = Child(IMPORT_BASE, variables)
            times, peak = _start({_YARDSTICK: yardstick, **children}, starts)
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
            cold_start_ms=_quantiles(times, "compiled"),
            cached_start_ms=_quantiles(times, "from the cache"),
            cold_start_ratio=_ratio(times, "compiled"),
            cached_start_ratio=_ratio(times, "from the cache"),
            peak_rss_mb=peak,
        ),
        tuple(missing),
    )


def _start(children: dict[str, Child], starts: int) -> tuple[dict[str, list[float]], float]:
    """Times in ms, all in turn, and the median peak memory without a cache in MB."""
    for child in children.values():
        child.run()  # compiles bytecode and fills the cache
    runs = [{name: child.run() for name, child in children.items()} for _ in range(starts)]
    peaks = [int(run["compiled"][1]) * 1024 / _MB for run in runs]
    return {name: [run[name][0] for run in runs] for name in children}, float(np.median(peaks))


def _quantiles(times: dict[str, list[float]], name: str) -> Quantiles | None:
    return quantiles(np.array(times[name])) if name in times else None


def _ratio(times: dict[str, list[float]], name: str) -> Interval | None:
    """To the yardstick; every start is a process of its own."""
    if name not in times:
        return None
    pair = [[np.array([[taken]]) for taken in times[one]] for one in (name, _YARDSTICK)]
    return ratio_over_processes(*pair)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
