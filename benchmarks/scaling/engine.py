"""Time and memory of an engine by images at once, classes and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.scaling.memory import EngineJob, run_job
from orthoedge.benchmarks.scaling.more_classes import widen
from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.scaling.wording import (
    batch_sentence,
    classes_sentence,
    risen_sentence,
    threads_sentence,
)
from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.targets import EngineOptions, open_model
from orthoedge.targets.cpu import available_cores

_WARMUP = 3

BATCH, CLASSES, THREADS = "images at once", "classes", "threads"


@dataclass(frozen=True)
class _Variant:
    """An engine, and what it is setup."""

    model: bytes
    threads: int
    batch: int = 1


def time_by_batch(setup: ScalingSetup) -> Curves:
    """Milliseconds of a run of N images, uint8 (N, 1, S, S)."""
    model = setup.bundle.model(setup.precision)
    engine = _opened(setup, _Variant(model, setup.threads))
    images = {n: np.repeat(setup.model_input, n, axis=0) for n in setup.scope.batches}
    times = _timed(setup, {n: _running(engine, held) for n, held in images.items()})
    (_, alone), (many, together) = _ends(times)
    explanation = batch_sentence(many, alone, together)
    return [curve(f"{setup.name} engine", BATCH, "ms", times, explanation)], []


def time_by_classes(setup: ScalingSetup) -> Curves:
    """Milliseconds of one image, with a repeated head and map.

    Raises:
        MissingDependency: onnx is not installed.
    """
    engines = {n: _opened(setup, variant) for n, variant in _by_classes(setup).items()}
    times = _timed(setup, {n: _running(engine, setup.model_input) for n, engine in engines.items()})
    (few, few_ms), (many, many_ms) = _ends(times)
    explanation = classes_sentence(few, few_ms, many, many_ms)
    return [curve(f"{setup.name} engine", CLASSES, "ms", times, explanation)], []


def time_by_threads(setup: ScalingSetup) -> Curves:
    """Milliseconds of one image, by threads up to one per core."""
    engines = {n: _opened(setup, variant) for n, variant in _by_threads(setup).items()}
    times = _timed(setup, {n: _running(engine, setup.model_input) for n, engine in engines.items()})
    (_, one_ms), (all_threads, all_ms) = _ends(times)
    explanation = threads_sentence(all_threads, one_ms, all_ms)
    return [curve(f"{setup.name} engine", THREADS, "ms", times, explanation)], []


def engine_memory(setup: ScalingSetup) -> Curves:
    """MB that opening an engine and one run take, by each of the three."""
    model = setup.bundle.model(setup.precision)
    makers: dict[str, Callable[[], Mapping[int, _Variant]]] = {
        BATCH: lambda: {n: _Variant(model, setup.threads, n) for n in setup.scope.batches},
        CLASSES: lambda: _by_classes(setup),
        THREADS: lambda: _by_threads(setup),
    }
    curves, skipped = [], []
    for by, make in makers.items():
        try:
            taken = {n: _peak_mb(setup, variant) for n, variant in make().items()}
        except OrthoEdgeError as error:
            skipped.append(Skipped(name=f"memory by {by}", reason=str(error)))
            continue
        samples = {float(n): np.array([size]) for n, size in taken.items()}
        (few, few_mb), (many, many_mb) = _ends(samples)
        explanation = risen_sentence(few, few_mb, many, many_mb, by)
        curves.append(curve(f"{setup.name} engine", by, "MB", samples, explanation))
    return curves, skipped


def _by_classes(setup: ScalingSetup) -> dict[int, _Variant]:
    if setup.target == "jetson":
        raise EngineError(
            "each number of classes needs a plan of its own, which takes minutes to build"
        )
    model, classes = setup.bundle.model(setup.precision), setup.bundle.manifest.graph.classes
    return {
        classes * times: _Variant(widen(model, classes, times), setup.threads)
        for times in setup.scope.widths
    }


def _by_threads(setup: ScalingSetup) -> dict[int, _Variant]:
    if setup.target == "jetson":
        raise EngineError("the number of threads of its GPU cannot be chosen")
    cores = available_cores()
    counts = sorted({cores, *(2**k for k in range(cores.bit_length()) if 2**k < cores)})
    if len(counts) < 2:
        raise EngineError("there is one core")
    model = setup.bundle.model(setup.precision)
    return {threads: _Variant(model, threads) for threads in counts}


def _opened(setup: ScalingSetup, variant: _Variant) -> Engine:
    size = setup.bundle.manifest.graph.size
    return open_model(
        variant.model,
        size,
        setup.target,
        setup.precision,
        options=EngineOptions(threads=variant.threads),
    )


def _running(
    engine: Engine, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> Callable[[int], object]:
    return lambda _: engine.run(images)


def _timed(
    setup: ScalingSetup, calls: Mapping[int, Callable[[int], object]]
) -> dict[float, Samples]:
    """(rounds,) ms of each, interleaved with the others."""
    named = {str(n): call for n, call in calls.items()}
    *_, taken = interleave(named, _WARMUP, setup.scope.rounds, setup.scope.seconds)
    return {float(n): np.median(taken[str(n)], axis=1) for n in calls}


def _ends(samples: Mapping[float, Samples]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Size and median at the smallest and at the largest."""
    points = [(size, float(np.median(curves))) for size, curves in samples.items()]
    return points[0], points[-1]


def _peak_mb(setup: ScalingSetup, variant: _Variant) -> float:
    file: Path = setup.folder / "model.onnx"
    write_atomic(file, variant.model)
    job = EngineJob(
        model=str(file),
        size=setup.bundle.manifest.graph.size,
        target=setup.target,
        precision=setup.precision,
        threads=variant.threads,
        batch=variant.batch,
    )
    return run_job(job, setup.folder)["engine"] / 1e6
