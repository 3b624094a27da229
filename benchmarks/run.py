"""One run of the benchmark, part by part; the report so far is handed on after each step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orthoedge.benchmarks.baselines.benchmark_app import run_benchmark_app
from orthoedge.benchmarks.baselines.folder_throughput import predict_folder, write_pngs
from orthoedge.benchmarks.baselines.sample_files import write_sources
from orthoedge.benchmarks.metrics.accuracy import evaluate, predict
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.report.gallery import GalleryItem, draw_gallery
from orthoedge.benchmarks.run_settings import FOLDER_FILES, SEED, BenchmarkRun, Part, RunSettings
from orthoedge.benchmarks.scaling.curves import scaling_curves
from orthoedge.benchmarks.schema import Report, Skipped, Stage
from orthoedge.benchmarks.timing import worker
from orthoedge.benchmarks.timing.candidates import (
    CandidateSpec,
    candidate_specs,
    compared_precision,
)
from orthoedge.benchmarks.timing.footprint import footprint
from orthoedge.benchmarks.timing.latency import quantiles
from orthoedge.benchmarks.timing.mlperf import NAMES, predictors, run_scenario, scenario_record
from orthoedge.benchmarks.timing.stages import stage_calls
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Engine, Outputs, Precision
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import EngineOptions, open_engine, open_model

Log = Callable[[str], object]

_LONG_CALL_INTERVAL = 4  # a call of more than 40 ms takes as long as all other candidates together
_MAP_FILES, _SIDE = 400, 224
_EXHAUSTED = object()


def measure(
    bundle: Bundle, settings: RunSettings, save: Callable[[Report], object], log: Log
) -> tuple[Report, tuple[GalleryItem, ...]]:
    """Run every measurement this machine supports. On Ctrl-C, return the partial report.

    Args:
        bundle: with verified hashes.
        settings: what to measure, and how long.
        save: receives the report so far after each step.
        log: receives a line before each step.

    Returns:
        The report, not `complete` after Ctrl-C, and radiographs under their maps.
    """
    run = BenchmarkRun(bundle, settings)
    gallery: list[GalleryItem] = []
    parts: dict[Part, Iterator[None]] = {
        "benchmark_app": _benchmark_app(run),
        "stages": _stages(run, log),
        "scenarios": _scenarios(run, log),
        "accuracy": _accuracy(run, log, gallery),
        "footprint": _footprint(run, log),
        "folder": _folder(run, log),
        "scaling": _scaling(run),
    }
    chosen = {name: part for name, part in parts.items() if name in settings.parts}
    timing = _each(run, log, {"timing": _time(run, log)})
    try:
        for _ in alternate(timing, _each(run, log, chosen), lambda: bool(run.workers)):
            save(run.report(complete=False))
        return run.report(complete=True), tuple(gallery)
    except KeyboardInterrupt:
        return run.report(complete=False), tuple(gallery)


def alternate(
    first: Iterator[None],
    second: Iterator[None],
    may_begin: Callable[[], bool],
    _clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Run both: after each step of `first`, steps of `second` for as long as that step took.

    The worker processes are thus spread over the whole run, and the intervals of their ratios
    include changes of the machine that take minutes.

    Args:
        first: begins.
        second: continues alone once the first has ended.
        may_begin: whether `second` has what it needs.
    """
    start = _clock()
    for _ in first:
        yield
        until = _clock() + (_clock() - start)
        while may_begin() and _clock() < until and next(second, _EXHAUSTED) is not _EXHAUSTED:
            yield
        start = _clock()
    yield from second


def _each(run: BenchmarkRun, log: Log, parts: dict[Part, Iterator[None]]) -> Iterator[None]:
    """All parts; the reason of one that cannot be measured goes to the report."""
    for name, part in parts.items():
        log(name)
        try:
            yield from part
        except OrthoEdgeError as error:
            run.skipped.append(Skipped(name=name, reason=str(error)))


def _time(run: BenchmarkRun, log: Log) -> Iterator[None]:
    """Fresh processes, each of which times all candidates interleaved."""
    settings, plan = run.settings, run.settings.plan
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        folder = Path(name)
        images, ensemble = folder / "images.npz", folder / "ensemble.onnx"
        worker.write_images(settings.images, images)
        if not isinstance(settings.ensemble, Skipped):
            write_atomic(ensemble, settings.ensemble.model)
        specs = candidate_specs(
            run.bundle,
            settings.targets,
            ensemble=ensemble.is_file(),
            baseline=settings.baseline,
            comparisons=True,
            external=settings.external,
        )
        for number in range(plan.processes):
            log(f"timing: process {number + 1} of {plan.processes}")
            job = worker.Job(
                number=number,
                bundle=str(run.bundle.path),
                specs=specs,
                images=str(images),
                ensemble=str(ensemble) if ensemble.is_file() else "",
                folder=name,
                threads=settings.threads,
                warmup=plan.warmup,
                seconds=plan.seconds,
                rounds=plan.rounds,
                long_call_interval=_LONG_CALL_INTERVAL,
                energy_s=plan.energy_s if number == 0 else 0,
                seed=SEED,
                samples=str(folder / f"samples-{number}.npz"),
            )
            _run_job(run, job, run.workers)
            yield


def _run_job(run: BenchmarkRun, job: worker.Job, results: list[worker.WorkerSamples]) -> None:
    try:
        worker.run_worker(job, Path(job.samples).parent)
    except EngineError as error:
        run.skipped.append(Skipped(name=f"process {job.number + 1}", reason=str(error)))
    finally:  # an interrupted worker leaves what it has measured
        samples = worker.read_samples(Path(job.samples))
        if samples is not None:
            results.append(samples)


def _benchmark_app(run: BenchmarkRun) -> Iterator[None]:
    """OpenVINO's own benchmark application."""
    settings, plan = run.settings, run.settings.plan
    if "x86" not in settings.targets:
        raise EngineError("benchmark_app is OpenVINO's, and x86 is not among the targets")
    runs, seconds = plan.benchmark_app_runs, plan.benchmark_app_s
    for pair in run_benchmark_app(run.bundle, "int8", settings.threads, runs=runs, seconds=seconds):
        run.benchmark_app_runs.append(pair)
        yield


def _engine(run: BenchmarkRun, target: str, precision: Precision) -> Engine:
    options = EngineOptions(threads=run.settings.threads)
    return open_engine(run.bundle, target, precision, options=options)


def _stages(run: BenchmarkRun, log: Log) -> Iterator[None]:
    plan = run.settings.plan
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        sources = write_sources(run.settings.images, Path(name))
        run.skipped += sources.skipped
        for target, precision in run.detailed:
            log(f"stages: {target} {precision}")
            pipeline = Pipeline(run.bundle, _engine(run, target, precision))
            calls, skipped = stage_calls(pipeline, sources, target)
            run.skipped += skipped
            *_, samples = interleave(calls, plan.warmup, plan.rounds, plan.stages_s)
            for name, times in samples.items():
                latency = quantiles(times.ravel())
                run.stages.append(
                    Stage(name=name, target=target, precision=precision, latency=latency)
                )
            yield


def _scenarios(run: BenchmarkRun, log: Log) -> Iterator[None]:
    settings = run.settings
    for target, precision in run.detailed:
        for name in NAMES:
            log(f"scenarios: {target} {precision} {name}")
            threads = workers = settings.threads
            streams = 1
            if name != "SingleStream" and target == "x86":  # a thread that reads, one per stream
                workers, threads = 1, max(1, threads - 1)
                streams = threads
            options = EngineOptions(threads=threads, streams=streams)
            engine = open_engine(run.bundle, target, precision, options=options)
            predict_query = predictors(Pipeline(run.bundle, engine), workers)[name]
            result = run_scenario(name, predict_query, settings.images, settings.mode, seed=SEED)
            run.scenarios.append(scenario_record(result, target, precision))
            yield


def _accuracy(run: BenchmarkRun, log: Log, gallery: list[GalleryItem]) -> Iterator[None]:
    settings, bundle = run.settings, run.bundle
    if isinstance(settings.prepared, Skipped):
        return
    reference = _reference_outputs(run, settings.prepared, log)
    for target, precision in run.pipelines:
        log(f"accuracy: {target} {precision}")
        outputs = predict(_engine(run, target, precision), settings.prepared)
        scores = evaluate(bundle, target, precision, outputs, settings.prepared, reference)
        run.accuracy.append(scores)
        if not gallery:
            gallery += draw_gallery(bundle, settings.prepared, outputs, reference)
        yield


def _reference_outputs(run: BenchmarkRun, prepared: Prepared, log: Log) -> Outputs | None:
    """Outputs of the float32 ensemble on the first target that runs; None: no such ensemble."""
    ensemble = run.settings.ensemble
    if isinstance(ensemble, Skipped) or not run.pipelines:
        return None
    if not ensemble.trained:
        reason = f"{ensemble.description}; --reference names a trained one"
        run.skipped.append(Skipped(name="agreement and 99 % verdict", reason=reason))
        return None
    log("accuracy: the float32 ensemble")
    size, (target, _) = run.bundle.manifest.graph.size, run.pipelines[0]
    options = EngineOptions(threads=run.settings.threads)
    return predict(open_model(ensemble.model, size, target, "fp32", options=options), prepared)


def _footprint(run: BenchmarkRun, log: Log) -> Iterator[None]:
    settings = run.settings
    for target, precision in run.detailed:
        log(f"footprint: {target} {precision}")
        starts, file = settings.plan.starts, settings.radiograph
        measured, skipped = footprint(run.bundle, target, precision, file, settings.threads, starts)
        run.footprint.append(measured)
        run.skipped += skipped
        yield


def _folder(run: BenchmarkRun, log: Log) -> Iterator[None]:
    """Passes over a folder in fresh processes, and whole commands with one and two processes."""
    settings, plan = run.settings, run.settings.plan
    if "x86" not in settings.targets:
        raise EngineError("the bound is that of x86, which is not among the targets")
    if not plan.folder_processes:
        raise EngineError(f"takes too long for --{settings.mode}")
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        small, large = Path(name) / "small", Path(name) / "large"
        for folder, files in ((small, _MAP_FILES), (large, FOLDER_FILES)):
            folder.mkdir()
            write_pngs(folder, files, _SIDE)
        images = Path(name) / "images.npz"
        worker.write_images(settings.images[:1], images)
        spec = CandidateSpec(kind="folder", target="x86", precision=compared_precision(run.bundle))
        for number in range(plan.folder_processes):
            log(f"folder: process {number + 1} of {plan.folder_processes}")
            job = worker.Job(
                number=number,
                bundle=str(run.bundle.path),
                specs=(spec,),
                images=str(images),
                folder=str(small),
                threads=settings.threads,
                seconds=plan.folder_s,
                seed=SEED,
                samples=str(Path(name) / f"samples-{number}.npz"),
            )
            _run_job(run, job, run.folder_workers)
            single, double = (predict_folder(run.bundle.path, large, jobs) for jobs in (1, 2))
            run.folder_jobs_ms.append((single, double))
            yield


def _scaling(run: BenchmarkRun) -> Iterator[None]:
    """Curves of the first pipeline that runs."""
    settings = run.settings
    for target, precision in run.pipelines[:1]:
        pipeline = (run.bundle, target, precision, settings.threads)
        for curves, skipped in scaling_curves(*pipeline, settings.mode):
            run.scaling += curves
            run.skipped += skipped
            yield
