"""From the samples of the worker processes to the candidates and comparisons of the report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from orthoedge.benchmarks.baselines.benchmark_app import BenchmarkAppRun
from orthoedge.benchmarks.schema import BASELINE, BENCHMARK_APP, Candidate, Comparison, Skipped
from orthoedge.benchmarks.timing import candidates, latency
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.benchmarks.timing.worker import WorkerSamples
from orthoedge.runtime.engine import Precision

_MINIMAL = "-bare"
"""Ends the name of an external program that runs another's inference alone."""


def reference_of(workers: Sequence[WorkerSamples], preferred: str) -> str:
    """The candidate that all ratios refer to: `preferred`, or the first that could be timed."""
    names = [info.name for info in _infos(workers)]
    return preferred if preferred in names else next(iter(names), "")


def candidates_of(workers: Sequence[WorkerSamples], reference: str) -> tuple[Candidate, ...]:
    """Every candidate, with its ratio to `reference` over the processes that timed both."""
    rows = []
    for info in _infos(workers):
        own, other = _same_rounds(workers, info.name, reference)
        energies = [worker.result.energy_mj.get(info.name) for worker in workers]
        times = np.concatenate([samples.ravel() for samples in own])
        row = Candidate(
            **msgspec.structs.asdict(info),
            latency=latency.quantiles(times, [np.median(samples, axis=1) for samples in own]),
            ratio=latency.ratio_over_processes(own, other),
            energy_mj=next((energy for energy in energies if energy is not None), None),
        )
        rows.append(row)
    return tuple(rows)


def skipped_of(workers: Sequence[WorkerSamples]) -> tuple[Skipped, ...]:
    """Candidates that could not be loaded, once and not once for each process."""
    skipped_by_name = {skip.name: skip for worker in workers for skip in worker.result.skipped}
    return tuple(skipped_by_name.values())


def comparisons_of(workers: Sequence[WorkerSamples], pipeline: str) -> tuple[Comparison, ...]:
    """The pipeline of that name against the reference implementations that were timed."""
    minimal = "time of the pipeline over that of the calls it cannot do without"
    saliency_map = "inference of the whole model over inference of its logits"
    by_hand = "time of ONNX Runtime by hand over the pipeline's"
    specs = [
        ("baseline", "time of the PyTorch baseline over the pipeline's", BASELINE, pipeline),
        ("minimal_pipeline", minimal, pipeline, candidates.MINIMAL_PIPELINE),
        ("saliency_map", saliency_map, candidates.MINIMAL_INFERENCE, candidates.LOGITS_ONLY),
        (
            "dicom",
            "a DICOM file to a finding over reading it by hand",
            candidates.DICOM,
            candidates.DICOM_BY_HAND,
        ),
        ("onnxruntime_by_hand", by_hand, candidates.ONNXRUNTIME_BY_HAND, pipeline),
    ]
    names = [info.name for info in _infos(workers) if info.name.startswith(candidates.EXTERNAL)]
    specs += [(name, "time of the program over the pipeline's", name, pipeline) for name in names]
    comparisons = [_ratio(workers, *spec) for spec in specs]
    comparisons += [
        _overhead(workers, pipeline, name) for name in names if name + _MINIMAL in names
    ]
    return tuple(comparison for comparison in comparisons if comparison is not None)


def folder_comparisons(
    workers: Sequence[WorkerSamples], jobs_ms: Sequence[tuple[float, float]], images: int
) -> tuple[Comparison, ...]:
    """Throughput of folders; times are per pass.

    Args:
        workers: passes of `Pipeline.map_results` and their bounds.
        jobs_ms: times of `orthoedge predict FOLDER` with one and with two processes.
        images: files of the latter.
    """
    description = (
        "images per second of Pipeline.map_results over those that the cores allow: their number "
        "over the time of one core for decoding, preparing and inferring an image"
    )
    bound = _ratio(
        workers, "folder_bound", description, candidates.FOLDER_BOUND, candidates.FOLDER_MAP
    )
    description = (
        f"images per second of two processes over those of one, {images} PNG files, whole commands"
    )
    names = ("predict FOLDER --jobs 1", "predict FOLDER --jobs 2")
    single, double = ([np.array([[pair[i]]]) for pair in jobs_ms] for i in (0, 1))
    jobs = _comparison("folder_jobs", description, names, single, double)
    return tuple(comparison for comparison in (bound, jobs) if comparison is not None)


def benchmark_app_candidate(
    runs: Sequence[BenchmarkAppRun], precision: Precision, threads: int
) -> Candidate:
    """OpenVINO's benchmark_app; its ratio is to the minimal inference in processes of its own."""
    application = [np.array([[run.application_ms]]) for run in runs]
    minimal = [np.array([[run.minimal_ms]]) for run in runs]
    return Candidate(
        name=BENCHMARK_APP,
        description=f"OpenVINO's benchmark_app, alone: medians of {len(runs)} runs; the ratio is "
        "to the minimal inference, alone too, in a fresh process right after each",
        scope="model",
        target="x86",
        engine="benchmark_app",
        version=importlib.metadata.version("openvino"),
        precision=precision,
        isa="not reported",
        threads=threads,
        latency=latency.quantiles(np.concatenate(application).ravel()),
        ratio=latency.ratio_over_processes(application, minimal),
        energy_mj=None,
    )


def _infos(workers: Sequence[WorkerSamples]) -> list[candidates.CandidateInfo]:
    """Each candidate once, pipelines before what they are compared with."""
    infos = {info.name: info for worker in workers for info in worker.result.loaded}
    return list(infos.values())


def _ratio(
    workers: Sequence[WorkerSamples], name: str, description: str, numerator: str, denominator: str
) -> Comparison | None:
    over, under = _same_rounds(workers, numerator, denominator)
    return _comparison(name, description, (numerator, denominator), over, under)


def _overhead(workers: Sequence[WorkerSamples], pipeline: str, program: str) -> Comparison | None:
    """Time that each pipeline adds to the minimal inference of its own model."""
    names = (pipeline, candidates.MINIMAL_INFERENCE, program, program + _MINIMAL)
    whole, minimal, theirs, theirs_minimal = _same_rounds(workers, *names)
    return _comparison(
        f"{program} overhead",
        "time that the pipeline adds to its minimal inference, minus what the program adds to its "
        "own",
        (
            f"{pipeline} minus {candidates.MINIMAL_INFERENCE}",
            f"{program} minus {program}{_MINIMAL}",
        ),
        [_medians(a) - _medians(b) for a, b in zip(whole, minimal, strict=True)],
        [_medians(a) - _medians(b) for a, b in zip(theirs, theirs_minimal, strict=True)],
        "ms",
    )


def _comparison(
    name: str,
    description: str,
    names: tuple[str, str],
    over: Sequence[Samples],
    under: Sequence[Samples],
    unit: Literal["×", "ms"] = "×",
) -> Comparison | None:
    """Numerator and denominator of each process, (rounds, calls) in ms; None without processes."""
    if not over:
        return None
    compare = latency.ratio_over_processes if unit == "×" else latency.difference_over_processes
    return Comparison(
        name=name,
        description=description,
        numerator=names[0],
        denominator=names[1],
        numerator_ms=_median(over),
        denominator_ms=_median(under),
        unit=unit,
        figure=compare(over, under),
    )


def _same_rounds(workers: Sequence[WorkerSamples], *names: str) -> list[list[Samples]]:
    """Samples of each name in the processes and the rounds that timed all of them."""
    together: list[list[Samples]] = [[] for _ in names]
    for worker in workers:
        if not set(names) <= set(worker.samples):
            continue
        samples = [worker.samples[name] for name in names]
        timed = ~np.any([np.isnan(times[:, 0]) for times in samples], axis=0)
        if timed.any():
            for collected, times in zip(together, samples, strict=True):
                collected.append(times[timed])
    return together


def _medians(samples: Samples) -> Samples:
    """(rounds, 1)."""
    return np.asarray(np.median(samples, axis=1, keepdims=True), np.float64)


def _median(samples: Sequence[Samples]) -> float:
    return float(np.median(np.concatenate([times.ravel() for times in samples])))
