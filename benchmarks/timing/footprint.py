"""What it takes to carry and to start a target: sizes, starts, memory."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.schema import Footprint, Interval, Missing, Quantiles
from orthoedge.benchmarks.timing.latency import quantiles, ratio_over_processes
from orthoedge.benchmarks.timing.startup import IMPORT_BASE, Child, first_findings, installed
from orthoedge.runtime.bundles.bundle import Bundle
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


_OURS = "orthoedge"
_PACKAGES = ("cli", "training", "compression", "runtime", "benchmarks", "targets")
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@cache
def wheel_bytes() -> int:
    """Size of our files deflated as a wheel deflates them; its few lines of metadata not among."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, file in _our_files():
            archive.write(file, f"{_OURS}/{folder.name}/{file.relative_to(folder)}")
    return len(packed.getvalue())


@cache
def environment_bytes(target: str) -> int:
    """Size of all files that `pip install orthoedge[TARGET]` brings, compiled bytecode not among.

    They are those of the packages that are installed here. Python itself is not counted.

    Raises:
        MissingDependency: a package of the target is not installed, or orthoedge is not, so that
            what it needs is not on record.
        EngineError: nothing is on record of the target's engine.
    """
    if target == "jetson":
        raise EngineError("TensorRT comes with JetPack, which keeps no record of its size")
    found: dict[str, metadata.Distribution] = {}
    waiting = list(_required(_distribution(_OURS, target), target))
    while waiting:
        name, certain = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = _distribution(name, target)
        except MissingDependency:
            if certain:
                raise
            continue  # needed by other systems or by other versions of Python
        waiting += _required(found[key], "")
    ours = sum(file.stat().st_size for _, file in _our_files())
    return ours + sum(map(_recorded_bytes, found.values()))


def _distribution(name: str, target: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(name, target, "the size of its environment") from error


def _required(distribution: metadata.Distribution, extra: str) -> Iterator[tuple[str, bool]]:
    """Names of what it needs, with one extra, and whether it needs them everywhere."""
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        asked = _EXTRA.search(marker)
        name = _NAME.match(requirement.strip())
        if name and (asked is None or asked.group(1) == extra):
            yield name.group(), asked is not None or not marker


def _recorded_bytes(distribution: metadata.Distribution) -> int:
    paths = {Path(str(file.locate())) for file in distribution.files or ()}
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def _our_files() -> Iterator[tuple[Path, Path]]:
    """Each file of our packages behind the folder that it belongs to."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(f"{_OURS}.{package}")
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(place).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    yield Path(place), file
