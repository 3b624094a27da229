"""The settings of a run, and the state of a run in progress, which becomes its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from orthoedge.benchmarks import schema
from orthoedge.benchmarks.baselines.benchmark_app import BenchmarkAppRun
from orthoedge.benchmarks.machine import BackgroundLoad, Machine
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.timing import results
from orthoedge.benchmarks.timing.candidates import compared_precision, engine_name, ensemble_name
from orthoedge.benchmarks.timing.latency import timer_ns
from orthoedge.benchmarks.timing.worker import WorkerSamples
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.preprocess import Pixels

SEED = 0
"""Of everything that is drawn at random."""
FOLDER_FILES = 2000
"""PNG files of a folder for `orthoedge predict FOLDER`."""

Part = Literal[
    "timing", "benchmark_app", "stages", "scenarios", "accuracy", "footprint", "folder", "scaling"
]
PARTS: frozenset[Part] = frozenset(get_args(Part))
Mode = Literal["quick", "standard", "full"]


class Plan(NamedTuple):
    """Counts and durations per mode. Rounds and seconds of interleaved timing are minimums."""

    processes: int
    """Fresh processes, each of which times all candidates."""
    seconds: float
    """Of timing in each process."""
    rounds: int
    """In each process."""
    warmup: int
    """Untimed calls of each candidate in each process."""
    benchmark_app_runs: int
    benchmark_app_s: int
    stages_s: float
    """Of each target and precision."""
    starts: int
    """Processes timed from their start to a finding, of each target and precision."""
    energy_s: float
    """Of each candidate, in the first process."""
    folder_processes: int
    """Fresh processes that time passes over a folder; and runs of `orthoedge predict FOLDER`."""
    folder_s: float
    """Of passes in each of these processes."""
    every_precision: bool
    """Measure stages and footprint of every precision, or of the first of each target."""


_PLANS: dict[str, tuple[Any, Any, Any]] = {  # quick, standard, full
    "processes": (3, 24, 40),
    "seconds": (5, 10, 30),
    "rounds": (5, 10, 20),
    "warmup": (3, 5, 10),
    "benchmark_app_runs": (3, 6, 12),
    "benchmark_app_s": (1, 3, 10),
    "stages_s": (2, 8, 30),
    "starts": (3, 10, 20),
    "energy_s": (1, 5, 20),
    "folder_processes": (0, 4, 8),
    "folder_s": (0, 4, 20),
    "every_precision": (False, True, True),
}
PLANS: dict[Mode, Plan] = {
    mode: Plan(**{name: values[i] for name, values in _PLANS.items()})
    for i, mode in enumerate(get_args(Mode))
}


@dataclass(frozen=True)
class ReferenceModel:
    """The float32 ensemble that the student was distilled from, or one of the same architecture."""

    model: bytes
    """ONNX file with the bundle's input and outputs."""
    description: str
    """Its origin, for the report."""
    trained: bool
    """An untrained ensemble is only timed."""


@dataclass(frozen=True)
class RunSettings:
    """What a run should measure."""

    machine: Machine
    """Described before anything is prepared: exporting an ensemble is load, too."""
    mode: Mode
    plan: Plan
    command: str
    """That repeats the run."""
    targets: tuple[str, ...]
    threads: int
    """Of every engine."""
    baseline: bool
    """Time the PyTorch baseline."""
    isa_limit: str
    images: tuple[Pixels, ...]
    """uint8 (H, W) each: the radiographs to time."""
    data: str
    """Their description, for the report."""
    radiograph: Path
    """The file that each start predicts."""
    prepared: Prepared | schema.Skipped
    """The labelled radiographs to measure accuracy on."""
    ensemble: ReferenceModel | schema.Skipped
    external: Mapping[str, str] = field(default_factory=dict)
    """Command line of each external program, by name."""
    parts: frozenset[Part] = PARTS
    skipped: tuple[schema.Skipped, ...] = ()
    """Known beforehand."""


@dataclass
class BenchmarkRun:
    """The results of a run so far."""

    bundle: Bundle
    settings: RunSettings
    load: BackgroundLoad = field(default_factory=BackgroundLoad)
    timer_ns: float = field(default_factory=timer_ns)
    workers: list[WorkerSamples] = field(default_factory=list)
    benchmark_app_runs: list[BenchmarkAppRun] = field(default_factory=list)
    stages: list[schema.Stage] = field(default_factory=list)
    scenarios: list[schema.Scenario] = field(default_factory=list)
    accuracy: list[schema.Accuracy] = field(default_factory=list)
    footprint: list[schema.Footprint] = field(default_factory=list)
    folder_workers: list[WorkerSamples] = field(default_factory=list)
    folder_jobs_ms: list[tuple[float, float]] = field(default_factory=list)
    scaling: list[schema.ScalingCurve] = field(default_factory=list)
    skipped: list[schema.Skipped] = field(default_factory=list)
    _timed: tuple[int, tuple[schema.Candidate, ...], tuple[schema.Comparison, ...]] = (0, (), ())

    def __post_init__(self) -> None:
        inputs = (self.settings.prepared, self.settings.ensemble)
        self.skipped += self.settings.skipped
        self.skipped += [value for value in inputs if isinstance(value, schema.Skipped)]

    @property
    def pipelines(self) -> tuple[tuple[str, Precision], ...]:
        """Target and precision of every pipeline that runs here, known once they were timed."""
        loaded = {info.name: info for worker in self.workers for info in worker.result.loaded}
        runs: list[tuple[str, Precision]] = [
            (info.target, precision)
            for info in loaded.values()
            for precision in ("int8", "fp16", "fp32")
            if info.name == f"{info.target} {precision}"
        ]
        return tuple(sorted(runs, key=lambda run: self.settings.targets.index(run[0])))

    @property
    def detailed(self) -> tuple[tuple[str, Precision], ...]:
        """The pipelines whose stages, scenarios and footprint are measured."""
        if self.settings.plan.every_precision:
            return self.pipelines
        first = dict(reversed(self.pipelines))
        return tuple(run for run in self.pipelines if first[run[0]] == run[1])

    def report(self, *, complete: bool) -> schema.Report:
        """The report so far; parts that were not measured are empty."""
        manifest, settings = self.bundle.manifest, self.settings
        labelled = settings.prepared
        reference = results.reference_of(self.workers, engine_name(settings.targets[0], "int8"))
        candidates, comparisons = self._timing(reference)
        if self.benchmark_app_runs:
            runs = self.benchmark_app_runs
            candidates += (results.benchmark_app_candidate(runs, "int8", settings.threads),)
        comparisons += results.folder_comparisons(
            self.folder_workers, self.folder_jobs_ms, FOLDER_FILES
        )
        return schema.Report(
            schema=schema.SCHEMA,
            bundle=manifest.name,
            bundle_version=manifest.version,
            bundle_sha256=self.bundle.sha256,
            labels=manifest.labels,
            machine=settings.machine,
            settings=schema.Settings(
                mode=settings.mode,
                command=settings.command,
                processes=len(self.workers),
                rounds=sum(len(next(iter(w.samples.values()), ())) for w in self.workers),
                warmup=settings.plan.warmup,
                threads=settings.threads,
                isa_limit=settings.isa_limit,
                seed=SEED,
                data=settings.data,
                labelled="" if isinstance(labelled, schema.Skipped) else labelled.description,
                timer_ns=self.timer_ns,
            ),
            background_load=self.load.cores(),
            reference=reference,
            candidates=candidates,
            comparisons=comparisons,
            stages=tuple(self.stages),
            scenarios=tuple(self.scenarios),
            accuracy=tuple(self.accuracy),
            footprint=tuple(self.footprint),
            scaling=tuple(self.scaling),
            skipped=(*results.skipped_of([*self.workers, *self.folder_workers]), *self.skipped),
            complete=complete,
        )

    def _timing(
        self, reference: str
    ) -> tuple[tuple[schema.Candidate, ...], tuple[schema.Comparison, ...]]:
        count, candidates, comparisons = self._timed  # the bootstrap takes seconds
        if count != len(self.workers):
            candidates = tuple(map(self._explained, results.candidates_of(self.workers, reference)))
            pipeline = f"x86 {compared_precision(self.bundle)}"
            comparisons = results.comparisons_of(self.workers, pipeline)
            self._timed = (len(self.workers), candidates, comparisons)
        return candidates, comparisons

    def _explained(self, row: schema.Candidate) -> schema.Candidate:
        """Add the origin of an ensemble to its description."""
        ensemble = self.settings.ensemble
        if isinstance(ensemble, schema.Skipped) or row.name != ensemble_name(row.target):
            return row
        description = f"{row.description}; {ensemble.description}"
        return msgspec.structs.replace(row, description=description)
