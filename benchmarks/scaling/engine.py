"""Time and memory of an engine by images at once, classes and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from orthoedge.benchmarks.scaling import wording
from orthoedge.benchmarks.scaling.memory import EngineJob, run_job
from orthoedge.benchmarks.scaling.more_classes import widen
from orthoedge.benchmarks.scaling.power_law import curve, ends
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.timing.latency import unnumbered
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.targets import EngineOptions, open_model
from orthoedge.targets.cpu import available_cores

_WARMUP = 3

BATCH, CLASSES, THREADS = "images at once", "classes", "threads"


class _Variant(NamedTuple):
    """An engine, and what it is given."""

    model: bytes
    threads: int
    batch: int = 1


def engine_time(setup: ScalingSetup, by: str) -> Curves:
    """Milliseconds of a run by one of the three; with more classes, head and map are repeated.

    Raises:
        EngineError: the target has no choice of this.
        MissingDependency: onnx, which repeats classes, is not installed.
    """

    @cache
    def opened(model: bytes, threads: int) -> Engine:
        size, options = setup.bundle.manifest.graph.size, EngineOptions(threads=threads)
        return open_model(model, size, setup.target, setup.precision, options=options)

    calls = {}
    for n, (model, threads, batch) in _VARIANTS[by](setup).items():
        images = np.repeat(setup.model_input, batch, axis=0)
        calls[str(n)] = unnumbered(partial(opened(model, threads).run, images))
    *_, taken = interleave(calls, _WARMUP, setup.scope.rounds, setup.scope.seconds)
    times = {float(n): np.median(samples, axis=1) for n, samples in taken.items()}
    explanation = _SENTENCES[by](*ends(times))
    return [curve(f"{setup.name} engine", by, "ms", times, explanation)], []


def engine_memory(setup: ScalingSetup) -> Curves:
    """MB that opening an engine and one run take, by each of the three."""
    curves, skipped = [], []
    for by, variants in _VARIANTS.items():
        try:
            samples = {
                float(n): np.array([_peak_mb(setup, variant)])
                for n, variant in variants(setup).items()
            }
        except OrthoEdgeError as error:
            skipped.append(Skipped(name=f"memory by {by}", reason=str(error)))
            continue
        explanation = wording.risen_sentence(*ends(samples), by)
        curves.append(curve(f"{setup.name} engine", by, "MB", samples, explanation))
    return curves, skipped


def _model(setup: ScalingSetup) -> bytes:
    return setup.bundle.model(setup.bundle.manifest.key_for(setup.target, setup.precision))


def _by_batch(setup: ScalingSetup) -> dict[int, _Variant]:
    model = _model(setup)
    return {n: _Variant(model, setup.threads, n) for n in setup.scope.batches}


def _by_classes(setup: ScalingSetup) -> dict[int, _Variant]:
    if setup.target == "jetson":
        raise EngineError(
            "each number of classes needs a plan of its own, which takes minutes to build"
        )
    model, classes = _model(setup), setup.bundle.manifest.graph.classes
    return {
        classes * times: _Variant(widen(model, classes, times), setup.threads)
        for times in setup.scope.widths
    }


def _by_threads(setup: ScalingSetup) -> dict[int, _Variant]:
    """Up to one thread per core."""
    if setup.target == "jetson":
        raise EngineError("the number of threads of its GPU cannot be chosen")
    cores = available_cores()
    counts = sorted({cores, *(2**k for k in range(cores.bit_length()) if 2**k < cores)})
    if len(counts) < 2:
        raise EngineError("there is one core")
    model = _model(setup)
    return {threads: _Variant(model, threads) for threads in counts}


_VARIANTS: Mapping[str, Callable[[ScalingSetup], dict[int, _Variant]]] = {
    BATCH: _by_batch,
    CLASSES: _by_classes,
    THREADS: _by_threads,
}
_SENTENCES: Mapping[str, Callable[[float, float, float, float], str]] = {
    BATCH: lambda _, alone_ms, images, together_ms: wording.batch_sentence(
        images, alone_ms, together_ms
    ),
    CLASSES: wording.classes_sentence,
    THREADS: lambda _, one_ms, threads, all_ms: wording.threads_sentence(threads, one_ms, all_ms),
}


def _peak_mb(setup: ScalingSetup, variant: _Variant) -> float:
    file = setup.folder / "model.onnx"
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
