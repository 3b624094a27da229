"""One run of the benchmark, part by part; what was measured is handed on after each."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orthoedge.benchmarks.baselines.benchmark_app import floor_runs
from orthoedge.benchmarks.baselines.sample_files import Sources, write_sources
from orthoedge.benchmarks.metrics.accuracy import ask, judge
from orthoedge.benchmarks.report.gallery import GalleryItem, draw_gallery
from orthoedge.benchmarks.run_settings import SEED, BenchmarkRun, RunSettings
from orthoedge.benchmarks.scaling import growth_parts
from orthoedge.benchmarks.schema import Missing, Report, Stage
from orthoedge.benchmarks.timing.candidates import wanted
from orthoedge.benchmarks.timing.footprint import footprint
from orthoedge.benchmarks.timing.latency import quantiles
from orthoedge.benchmarks.timing.mlperf import NAMES, askers, run_scenario, scenario_record
from orthoedge.benchmarks.timing.stages import stages_of
from orthoedge.benchmarks.timing.worker import (
    Job,
    read_samples,
    run_process,
    take_turns,
    write_images,
)
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import EngineOptions, open_engine, open_model

Say = Callable[[str], object]

_ENDED = object()


def measure(
    bundle: Bundle, setting: RunSettings, keep: Callable[[Report], object], say: Say
) -> tuple[Report, tuple[GalleryItem, ...]]:
    """Measure everything that can be had here; interrupted, what there is by then.

    Args:
        bundle: whose hashes were checked.
        setting: what to measure, and how long.
        keep: is given the report so far after each part.
        say: is given a line before each part.

    Returns:
        The report, not `complete` where Ctrl-C ended it, and radiographs under their maps.
    """
    draft = BenchmarkRun(bundle, setting)
    gallery: list[GalleryItem] = []
    timing = _each(draft, say, {"timing": _time(draft, say)})
    others = {
        "floor": _floor(draft),
        "stages": _stages(draft, say),
        "scenarios": _scenarios(draft, say),
        "accuracy": _accuracy(draft, say, gallery),
        "footprint": _footprint(draft, say),
        "growth": _growth(draft),
    }
    try:
        for _ in in_step(timing, _each(draft, say, others), lambda: bool(draft.timed)):
            keep(draft.report(complete=False))
        return draft.report(complete=True), tuple(gallery)
    except KeyboardInterrupt:
        return draft.report(complete=False), tuple(gallery)


def in_step(
    first: Iterator[None],
    second: Iterator[None],
    may_begin: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Go on with both: after each step of `first`, with `second` for as long as that step took.

    So the processes that time are spread over the run, and what the machine does in minutes is
    within the intervals of their ratios.

    Args:
        first: goes first.
        second: goes on alone once the first has ended.
        may_begin: whether `second` knows enough.
        clock: seconds.
    """
    begun = clock()
    for _ in first:
        yield
        until = clock() + (clock() - begun)
        while may_begin() and clock() < until and next(second, _ENDED) is not _ENDED:
            yield
        begun = clock()
    yield from second


def _each(draft: BenchmarkRun, say: Say, parts: dict[str, Iterator[None]]) -> Iterator[None]:
    """Part after part; one that cannot be measured is a line that says why."""
    for name, part in parts.items():
        say(name)
        try:
            yield from part
        except OrthoEdgeError as error:
            draft.missing.append(Missing(what=name, why=str(error)))


def _time(draft: BenchmarkRun, say: Say) -> Iterator[None]:
    """Fresh processes that time all candidates in turn."""
    setting, plan = draft.setting, draft.setting.plan
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        folder = Path(name)
        images, ensemble = folder / "images.npz", folder / "ensemble.onnx"
        write_images(setting.images, images)
        if not isinstance(setting.ensemble, Missing):
            write_atomic(ensemble, setting.ensemble.model)
        for number in range(plan.processes):
            say(f"timing: process {number + 1} of {plan.processes}")
            job = Job(
                number=number,
                bundle=str(draft.bundle.path),
                wanted=wanted(
                    draft.bundle,
                    setting.targets,
                    ensemble=ensemble.is_file(),
                    seeds=setting.seeds,
                ),
                images=str(images),
                ensemble=str(ensemble) if ensemble.is_file() else "",
                threads=setting.threads,
                warmup=plan.warmup,
                seconds=plan.seconds,
                rounds=plan.rounds,
                energy_s=plan.energy_s if number == 0 else 0,
                seed=SEED,
                samples=str(folder / f"samples-{number}.npz"),
                parent=os.getpid(),
            )
            _run(draft, job, folder)
            yield


def _run(draft: BenchmarkRun, job: Job, folder: Path) -> None:
    try:
        run_process(job, folder)
    except EngineError as error:
        draft.missing.append(Missing(what=f"process {job.number + 1}", why=str(error)))
    finally:  # what an ended process left counts too
        timed = read_samples(Path(job.samples))
        if timed is not None:
            draft.timed.append(timed)


def _floor(draft: BenchmarkRun) -> Iterator[None]:
    """OpenVINO's own benchmark application."""
    setting, plan = draft.setting, draft.setting.plan
    if "x86" not in setting.targets:
        raise EngineError("benchmark_app is OpenVINO's, and x86 is not among the targets")
    for run in floor_runs(
        draft.bundle, "int8", setting.threads, runs=plan.floor_runs, seconds=plan.floor_s
    ):
        draft.floors.append(run)
        yield


def _stages(draft: BenchmarkRun, say: Say) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as name:
        sources = write_sources(draft.setting.images, Path(name))
        draft.missing += sources.missing
        for target, precision in draft.chosen:
            say(f"stages: {target} {precision}")
            draft.stages += _stages_of(draft, sources, target, precision)
            yield


def _stages_of(
    draft: BenchmarkRun, sources: Sources, target: str, precision: Precision
) -> list[Stage]:
    setting, plan = draft.setting, draft.setting.plan
    engine = open_engine(
        draft.bundle, target, precision, options=EngineOptions(threads=setting.threads)
    )
    stages = stages_of(Pipeline(draft.bundle, engine), sources, target)
    draft.missing += stages.missing
    *_, samples = take_turns(stages.calls, plan.warmup, plan.rounds, plan.stages_s)
    return [
        Stage(
            name=name, target=target, precision=precision, latency=quantiles(samples[name].ravel())
        )
        for name in samples
    ]


def _scenarios(draft: BenchmarkRun, say: Say) -> Iterator[None]:
    setting = draft.setting
    for target, precision in draft.chosen:
        for name in NAMES:
            say(f"scenarios: {target} {precision} {name}")
            # One image at a time, or as many as there are threads, each on one.
            streams = 1 if name == "SingleStream" else setting.threads
            engine = open_engine(
                draft.bundle,
                target,
                precision,
                options=EngineOptions(threads=setting.threads, streams=streams),
            )
            askers_of = askers(Pipeline(draft.bundle, engine), streams)
            ran = run_scenario(name, askers_of[name], setting.images, setting.mode, seed=SEED)
            draft.scenarios.append(scenario_record(ran, target, precision))
            yield


def _accuracy(draft: BenchmarkRun, say: Say, gallery: list[GalleryItem]) -> Iterator[None]:
    setting, bundle = draft.setting, draft.bundle
    if isinstance(setting.prepared, Missing):
        return
    reference = _reference(draft, say)
    for target, precision in draft.students:
        say(f"accuracy: {target} {precision}")
        engine = open_engine(
            bundle, target, precision, options=EngineOptions(threads=setting.threads)
        )
        outputs = ask(engine, setting.prepared)
        found = judge(bundle, target, precision, outputs, setting.prepared, reference)
        draft.accuracy.append(found)
        if not gallery:
            gallery += draw_gallery(bundle, setting.prepared, outputs, reference)
        yield


def _reference(draft: BenchmarkRun, say: Say) -> Outputs | None:
    """The float32 ensemble's answers, by the first target that runs; None: no such ensemble."""
    ensemble, prepared = draft.setting.ensemble, draft.setting.prepared
    if isinstance(ensemble, Missing) or isinstance(prepared, Missing) or not draft.students:
        return None
    if not ensemble.trained:
        why = f"{ensemble.what}; --reference names a trained one"
        draft.missing.append(Missing(what="agreement and 99 % verdict", why=why))
        return None
    say("accuracy: the float32 ensemble")
    size, (target, _) = draft.bundle.manifest.graph.size, draft.students[0]
    return ask(
        open_model(
            ensemble.model,
            size,
            target,
            "fp32",
            options=EngineOptions(threads=draft.setting.threads),
        ),
        prepared,
    )


def _footprint(draft: BenchmarkRun, say: Say) -> Iterator[None]:
    setting = draft.setting
    for target, precision in draft.chosen:
        say(f"footprint: {target} {precision}")
        found, missing = footprint(
            draft.bundle,
            target,
            precision,
            setting.radiograph,
            setting.threads,
            setting.plan.starts,
        )
        draft.footprint.append(found)
        draft.missing += missing
        yield


def _growth(draft: BenchmarkRun) -> Iterator[None]:
    """Of the first pipeline that runs."""
    setting = draft.setting
    for target, precision in draft.students[:1]:
        for found, missing in growth_parts(
            draft.bundle, target, precision, setting.threads, setting.mode
        ):
            draft.growth += found
            draft.missing += missing
            yield
