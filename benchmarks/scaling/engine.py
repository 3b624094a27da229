"""Time and memory of an engine by images at once, classes and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.scaling.memory import EngineJob, ask
from orthoedge.benchmarks.scaling.more_classes import widen
from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Found, ScalingSetup
from orthoedge.benchmarks.scaling.wording import (
    batch_words,
    classes_words,
    risen_words,
    threads_words,
)
from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.targets import open_model
from orthoedge.targets.cpu import available_cores

_WARMUP = 3

BATCH, CLASSES, THREADS = "images at once", "classes", "threads"


@dataclass(frozen=True)
class _Variant:
    """An engine, and what it is given."""

    model: bytes
    threads: int
    batch: int = 1


def time_by_batch(given: ScalingSetup) -> Found:
    """Milliseconds of a run of N images, uint8 (N, 1, S, S)."""
    model = given.bundle.model(given.precision)
    engine = _opened(given, _Variant(model, given.threads))
    images = {n: np.repeat(given.square, n, axis=0) for n in given.scope.batches}
    times = _timed(given, {n: _running(engine, held) for n, held in images.items()})
    (_, alone), (many, together) = _ends(times)
    where = batch_words(many, alone, together)
    return [curve(f"{given.name} engine", BATCH, "ms", times, where)], []


def time_by_classes(given: ScalingSetup) -> Found:
    """Milliseconds of one image, with head and map repeated.

    Raises:
        MissingDependency: onnx is not installed.
    """
    engines = {n: _opened(given, one) for n, one in _by_classes(given).items()}
    times = _timed(given, {n: _running(engine, given.square) for n, engine in engines.items()})
    (few, few_ms), (many, many_ms) = _ends(times)
    where = classes_words(few, few_ms, many, many_ms)
    return [curve(f"{given.name} engine", CLASSES, "ms", times, where)], []


def time_by_threads(given: ScalingSetup) -> Found:
    """Milliseconds of one image, by threads up to one per core."""
    engines = {n: _opened(given, one) for n, one in _by_threads(given).items()}
    times = _timed(given, {n: _running(engine, given.square) for n, engine in engines.items()})
    (_, one_ms), (all_threads, all_ms) = _ends(times)
    where = threads_words(all_threads, one_ms, all_ms)
    return [curve(f"{given.name} engine", THREADS, "ms", times, where)], []


def engine_memory(given: ScalingSetup) -> Found:
    """MB that opening an engine and one run take, by each of the three."""
    model = given.bundle.model(given.precision)
    makers: dict[str, Callable[[], Mapping[int, _Variant]]] = {
        BATCH: lambda: {n: _Variant(model, given.threads, n) for n in given.scope.batches},
        CLASSES: lambda: _by_classes(given),
        THREADS: lambda: _by_threads(given),
    }
    found, skipped = [], []
    for by, make in makers.items():
        try:
            taken = {n: _peak_mb(given, one) for n, one in make().items()}
        except OrthoEdgeError as error:
            skipped.append(Skipped(name=f"memory by {by}", reason=str(error)))
            continue
        samples = {float(n): np.array([size]) for n, size in taken.items()}
        (few, few_mb), (many, many_mb) = _ends(samples)
        where = risen_words(few, few_mb, many, many_mb, by)
        found.append(curve(f"{given.name} engine", by, "MB", samples, where))
    return found, skipped


def _by_classes(given: ScalingSetup) -> dict[int, _Variant]:
    if given.target == "jetson":
        raise EngineError("each number of classes would be a plan, which takes minutes to build")
    model, classes = given.bundle.model(given.precision), given.bundle.manifest.graph.classes
    return {
        classes * times: _Variant(widen(model, classes, times), given.threads)
        for times in given.scope.widths
    }


def _by_threads(given: ScalingSetup) -> dict[int, _Variant]:
    if given.target == "jetson":
        raise EngineError("its GPU has no number of threads to choose")
    cores = available_cores()
    counts = sorted({cores, *(2**k for k in range(cores.bit_length()) if 2**k < cores)})
    if len(counts) < 2:
        raise EngineError("there is one core")
    model = given.bundle.model(given.precision)
    return {threads: _Variant(model, threads) for threads in counts}


def _opened(given: ScalingSetup, one: _Variant) -> Engine:
    size = given.bundle.manifest.graph.size
    return open_model(one.model, size, given.target, given.precision, one.threads)


def _running(
    engine: Engine, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> Callable[[int], object]:
    return lambda _: engine.run(images)


def _timed(
    given: ScalingSetup, calls: Mapping[int, Callable[[int], object]]
) -> dict[float, Samples]:
    """(rounds,) ms of each, in turn with the others."""
    named = {str(n): call for n, call in calls.items()}
    *_, taken = interleave(named, _WARMUP, given.scope.rounds, given.scope.seconds)
    return {float(n): np.median(taken[str(n)], axis=1) for n in calls}


def _ends(samples: Mapping[float, Samples]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Size and median at the smallest and at the largest."""
    points = [(size, float(np.median(found))) for size, found in samples.items()]
    return points[0], points[-1]


def _peak_mb(given: ScalingSetup, one: _Variant) -> float:
    file: Path = given.folder / "model.onnx"
    write_atomic(file, one.model)
    job = EngineJob(
        model=str(file),
        size=given.bundle.manifest.graph.size,
        target=given.target,
        precision=given.precision,
        threads=one.threads,
        batch=one.batch,
    )
    return ask(job, given.folder)["engine"] / 1e6
