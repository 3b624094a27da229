"""One run that times everything side by side, and the report it leaves: JSON and Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from orthoedge.benchmarks import latency, machine
from orthoedge.benchmarks.latency import Timings
from orthoedge.benchmarks.seeds import SeedsPipeline
from orthoedge.runtime.bundles import SAMPLES, Bundle
from orthoedge.runtime.engine import PRECISIONS
from orthoedge.runtime.errors import DataError, EngineError, MissingDependency, UnknownTarget
from orthoedge.runtime.files import write_atomic
from orthoedge.runtime.intake import find_images, read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.targets import open_engine
from orthoedge.targets.cores import available_cores

SEEDS = "seeds"
_BUSY = "**Other work was running on this machine: these figures are not to be quoted.**"
_SIDE = 512  # of the default radiograph, in pixels


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Latency(_Record, frozen=True):
    """Milliseconds over all rounds."""

    p50: float
    p90: float
    p99: float


class Interval(_Record, frozen=True):
    """A ratio of medians with its 95 % paired bootstrap interval."""

    p50: float
    low: float
    high: float


class Measured(_Record, frozen=True):
    """One target at one precision."""

    target: str
    engine: str
    version: str
    precision: str
    isa: str
    pipeline: Latency
    """Radiograph in memory to finding."""
    engine_alone: Latency
    """Preprocessed square to logits, map and features."""
    overhead: Interval
    """Pipeline over engine alone."""
    speedup: Interval | None
    """The seeds' way over this pipeline; None where the seeds' way was not measured."""


class Missing(_Record, frozen=True):
    """Something that was asked for and could not be measured."""

    what: str
    why: str


class Report(_Record, frozen=True):
    """A run of the benchmark."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    data: str
    """What was timed: how many radiographs, of what size."""
    rounds: int
    threads: int
    machine: machine.Machine
    measured: tuple[Measured, ...]
    seeds: Latency | None
    """Eager PyTorch, two networks, pytorch-grad-cam on both."""
    missing: tuple[Missing, ...]


def benchmark(
    bundle: Bundle,
    targets: Sequence[str],
    rounds: int,
    data: Path | None = None,
    *,
    seeds: bool = True,
    threads: int | None = None,
    warmup: int = 10,
) -> Report:
    """Time the pipeline and the bare engine of every target and precision, in turn, in one run.

    Args:
        bundle: what to run.
        targets: names of targets.
        rounds: timed calls of each candidate.
        data: folder of radiographs, read beforehand and taken in turn; None for one 512×512
            phantom.
        seeds: time the seeds' way too.
        threads: of every engine and of PyTorch; None for one per core this process may use.
        warmup: untimed calls of each candidate.

    Raises:
        UnknownTarget: no such target.
        DataError: no radiograph in `data`.
    """
    threads = threads or available_cores()
    described = machine.describe()
    images = _phantom() if data is None else _read_folder(data)
    prepared = [bundle.manifest.preprocess(image)[None, None] for image in images]
    pipelines: dict[tuple[str, str], Pipeline] = {}
    candidates: dict[str, Callable[[], object]] = {}
    missing = []
    for target, precision in itertools.product(targets, PRECISIONS):
        try:
            pipeline = Pipeline(bundle, open_engine(bundle, target, precision, threads))
        except UnknownTarget:
            raise
        except (EngineError, MissingDependency) as error:
            missing.append(Missing(what=f"{target} {precision}", why=str(error)))
            continue
        pipelines[target, precision] = pipeline
        candidates[f"{target} {precision}"] = _in_turn(pipeline, images)
        candidates[f"{target} {precision} engine"] = _in_turn(pipeline.engine.run, prepared)
    if seeds:
        try:
            candidates[SEEDS] = _in_turn(SeedsPipeline(threads), images)
        except MissingDependency as error:
            missing.append(Missing(what=SEEDS, why=str(error)))
    timings = latency.interleaved(candidates, rounds=rounds, warmup=warmup)
    sizes = sorted({f"{image.shape[1]}×{image.shape[0]}" for image in images})
    return Report(
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
        data=f"{len(images)} {'phantom' if data is None else 'radiographs'}, {', '.join(sizes)}",
        rounds=rounds,
        threads=threads,
        machine=described,
        measured=tuple(_measured(*key, pipeline, timings) for key, pipeline in pipelines.items()),
        seeds=_latency(timings[SEEDS]) if SEEDS in timings else None,
        missing=tuple(missing),
    )


def write_report(report: Report, folder: Path) -> None:
    """Write report.json and report.md."""
    write_both(report, to_markdown(report), folder, "report")


def write_both(record: msgspec.Struct, markdown: str, folder: Path, name: str) -> None:
    """Write a record as NAME.json, for programs, and as NAME.md, for people."""
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_atomic(folder / f"{name}.json", encoded + b"\n")
    write_atomic(folder / f"{name}.md", markdown.encode())


def to_markdown(report: Report) -> str:
    """The report as a table."""
    computer = report.machine
    lines = [
        f"# {report.bundle} {report.bundle_version}",
        "",
        f"{report.data}; {report.rounds} interleaved rounds, {report.threads} threads; "
        f"{computer.cpu}, {computer.cores} cores, {computer.kernel}, load {computer.load}.",
        "",
        *([_BUSY, ""] if computer.load > machine.QUIET else []),
        "| target | engine | precision | ISA | pipeline ms p50 / p90 / p99 "
        "| engine alone ms p50 / p90 / p99 | pipeline ÷ engine | seeds' way ÷ pipeline |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report.measured:
        lines.append(
            f"| {row.target} | {row.engine} {row.version} | {row.precision} | {row.isa} "
            f"| {_times(row.pipeline)} | {_times(row.engine_alone)} "
            f"| {_interval(row.overhead)} | {_interval(row.speedup)} |"
        )
    if report.seeds is not None:
        version = computer.packages.get("torch", "")
        lines.append(f"| seeds' way | torch {version} | fp32 | – | {_times(report.seeds)} | | | |")
    lines += [f"\n{missing.what}: not measured. {missing.why}" for missing in report.missing]
    return "\n".join(lines) + "\n"


def _measured(
    target: str, precision: str, pipeline: Pipeline, timings: dict[str, Timings]
) -> Measured:
    whole, alone = timings[f"{target} {precision}"], timings[f"{target} {precision} engine"]
    engine = pipeline.engine
    return Measured(
        target=target,
        engine=engine.name,
        version=engine.version,
        precision=engine.precision,
        isa=engine.isa,
        pipeline=_latency(whole),
        engine_alone=_latency(alone),
        overhead=_ratio(whole, alone),
        speedup=_ratio(timings[SEEDS], whole) if SEEDS in timings else None,
    )


def _in_turn(call: Callable[[Pixels], object], images: Sequence[Pixels]) -> Callable[[], object]:
    """A call without arguments that takes the next image each time, so rounds stay paired."""
    endless = itertools.cycle(images)
    return lambda: call(next(endless))


def _phantom() -> list[Pixels]:
    samples = sorted(SAMPLES.glob("*.png"))
    if not samples:
        raise DataError(f"{SAMPLES}: no sample radiograph in this installation; pass --data")
    pixels = read_image(samples[0]).pixels
    resized = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    return [np.asarray(resized, np.uint8)]


def _read_folder(folder: Path) -> list[Pixels]:
    paths = find_images(folder)
    if not paths:
        raise DataError(f"{folder}: no radiograph in this folder")
    return [read_image(path).pixels for path in paths]


def _latency(timings: Timings) -> Latency:
    return Latency(p50=round(timings.p50, 4), p90=round(timings.p90, 4), p99=round(timings.p99, 4))


def _ratio(first: Timings, second: Timings) -> Interval:
    found = latency.ratio(first, second)
    return Interval(p50=round(found.p50, 3), low=round(found.low, 3), high=round(found.high, 3))


def _times(times: Latency) -> str:
    return f"{times.p50:.2f} / {times.p90:.2f} / {times.p99:.2f}"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "not measured"
    return f"{interval.p50:.2f} ({interval.low:.2f} to {interval.high:.2f})"
