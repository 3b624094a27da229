"""Footprint of a target: sizes, start-up times and memory."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from orthoedge.benchmarks.schema import Footprint, Skipped
from orthoedge.benchmarks.timing import latency, startup
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.benchmarks.timing.startup import PythonProcess
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError, MissingDependency

_MB = 1e6
_BASE, _RUNTIME = "numpy and OpenCV", "and the runtime"
_COLD, _CACHED = "compiled", "from the cache"


def footprint(
    bundle: Bundle, target: str, precision: Precision, radiograph: Path, threads: int, starts: int
) -> tuple[Footprint, tuple[Skipped, ...]]:
    """Measure sizes, starts in fresh processes, and peak memory of one target and precision.

    Starts find Python's bytecode compiled and files in the page cache, as on a device that has been
    started before. They are interleaved with a process that imports numpy and OpenCV, because the
    time of a start drifts with the machine and their ratio far less; and with one that imports the
    runtime too. Peak memory is VmHWM after the first finding, the median over starts. Each of
    `starts` processes predicts `radiograph`; the same number again does with a compile cache.
    """
    skipped, environment = [], None
    times: dict[str, Samples] = {}
    peaks: dict[str, Samples] = {}
    try:
        environment = environment_bytes(target) / _MB
    except (EngineError, MissingDependency) as error:
        skipped.append(Skipped(name=f"{target} {precision}: environment", reason=str(error)))
    try:
        start = (bundle.path, radiograph, threads, target, precision)
        with startup.installed() as variables, startup.first_finding_processes(*start) as processes:
            base, runtime = (
                PythonProcess(c, variables) for c in (startup.IMPORT_BASE, startup.IMPORT_OURS)
            )
            times, peaks = _start({_BASE: base, _RUNTIME: runtime, **processes}, starts)
    except EngineError as error:
        skipped.append(Skipped(name=f"{target} {precision}: starts", reason=str(error)))
    starts_of: dict[str, Any] = dict.fromkeys(("cold_start_ms", "cached_start_ms"))
    starts_of["cold_peak_rss_mb"] = None
    for kind, name in (("cold", _COLD), ("cached", _CACHED)):
        if name in times:
            taken, imports = list(times[name]), list(times[_BASE])
            starts_of[f"{kind}_start_ms"] = latency.quantiles(
                times[name].ravel(), list(times[name][:, 0])
            )
            starts_of[f"{kind}_peak_rss_mb"] = latency.median_over_processes(list(peaks[name]))
            # Every start is a process of its own.
            starts_of[f"{kind}_start_ratio"] = latency.ratio_over_processes(taken, imports)
    if times:
        imports = list(times[_BASE])
        starts_of["import_ms"] = latency.difference_over_processes(list(times[_RUNTIME]), imports)
    measured = Footprint(
        target=target,
        precision=precision,
        model_mb=len(bundle.model(bundle.manifest.key_for(target, precision))) / _MB,
        bundle_mb=_size(bundle.path) / _MB,
        wheel_mb=wheel_bytes() / _MB,
        environment_mb=environment,
        **starts_of,
    )
    return measured, tuple(skipped)


def _start(
    processes: dict[str, PythonProcess], starts: int
) -> tuple[dict[str, Samples], dict[str, Samples]]:
    """Times in ms, interleaved, (starts, 1, 1) of each; and peak memory in MB, (starts, 1)."""
    for process in processes.values():
        process.run()  # compiles bytecode and fills the cache
    runs = [{name: process.run() for name, process in processes.items()} for _ in range(starts)]
    times = {name: np.array([[[run[name][0]]] for run in runs]) for name in processes}
    peaks = {
        name: np.array([[int(run[name][1]) * 1024 / _MB] for run in runs])
        for name in (_COLD, _CACHED)
        if name in processes
    }
    return times, peaks


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
    """Size of our files compressed as in a wheel, without its few lines of metadata."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, file in _our_files():
            archive.write(file, f"{_OURS}/{folder.name}/{file.relative_to(folder)}")
    return len(packed.getvalue())


@cache
def environment_bytes(target: str) -> int:
    """Size of all files that `pip install orthoedge[TARGET]` brings, without compiled bytecode.

    The size is that of the packages installed here, without Python itself.

    Raises:
        MissingDependency: a package of the target is not installed, or orthoedge is not, so that
            its requirements are unknown.
        EngineError: the size of the target's engine is unknown.
    """
    if target == "jetson":
        raise EngineError("TensorRT comes with JetPack, which does not record its size")
    distributions: dict[str, metadata.Distribution] = {}
    waiting = list(_required(_distribution(_OURS, target), target))
    while waiting:
        name, certain = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in distributions:
            continue
        try:
            distributions[key] = _distribution(name, target)
        except MissingDependency:
            if certain:
                raise
            continue  # needed by other systems or by other versions of Python
        waiting += _required(distributions[key], "")
    ours = sum(file.stat().st_size for _, file in _our_files())
    return ours + sum(map(_recorded_bytes, distributions.values()))


def _distribution(name: str, target: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(name, target, "the size of its environment") from error


def _required(distribution: metadata.Distribution, extra: str) -> Iterator[tuple[str, bool]]:
    """Names of its requirements with one extra, and whether every system needs them."""
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
