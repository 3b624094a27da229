"""A report in the making: what a run was asked for, and what it has measured so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from orthoedge.benchmarks.baselines.benchmark_app import FloorRun
from orthoedge.benchmarks.machine import BackgroundLoad, Machine
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.schema import (
    SCHEMA,
    Accuracy,
    Candidate,
    Footprint,
    Growth,
    Missing,
    Report,
    Scenario,
    Settings,
    Stage,
)
from orthoedge.benchmarks.timing.candidates import engine_name, ensemble_name
from orthoedge.benchmarks.timing.latency import timer_ns
from orthoedge.benchmarks.timing.results import (
    candidate_rows,
    floor_row,
    missing_rows,
    reference_of,
)
from orthoedge.benchmarks.timing.worker import Timed
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.preprocess import Pixels

SEED = 0
"""Of everything that is drawn."""


@dataclass(frozen=True)
class ReferenceModel:
    """The float32 network that the student came from, or one of its shape."""

    model: bytes
    """ONNX file with the common face and the bundle's input."""
    what: str
    """For the reader: where it is from."""
    trained: bool
    """Whether its answers mean something; else it is timed and no more."""


@dataclass(frozen=True)
class RunSettings:
    """What a run was asked for, and where."""

    machine: Machine
    """Described before anything was prepared: exporting an ensemble is load of its own."""
    mode: Mode
    plan: Plan
    command: str
    """As it can be typed again."""
    targets: tuple[str, ...]
    threads: int
    """Of every engine."""
    seeds: bool
    """Whether the seeds' way takes part."""
    isa_cap: str
    cpu_quota: float | None
    images: tuple[Pixels, ...]
    """uint8 (H, W) each: what is timed."""
    data: str
    """What they are, for the reader."""
    radiograph: Path
    """The file that a start is timed on."""
    prepared: Prepared | Missing
    """What accuracy is measured on."""
    ensemble: ReferenceModel | Missing
    left_out: tuple[Missing, ...] = ()
    """What is known beforehand not to be measured."""


@dataclass
class BenchmarkRun:
    """What has been measured so far."""

    bundle: Bundle
    setting: RunSettings
    bystanders: BackgroundLoad = field(default_factory=BackgroundLoad)
    timer_ns: float = field(default_factory=timer_ns)
    timed: list[Timed] = field(default_factory=list)
    floors: list[FloorRun] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)
    footprint: list[Footprint] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    _rows: tuple[int, tuple[Candidate, ...]] = (0, ())

    def __post_init__(self) -> None:
        asked = (self.setting.prepared, self.setting.ensemble)
        self.missing += [
            *self.setting.left_out,
            *(one for one in asked if isinstance(one, Missing)),
        ]

    @property
    def students(self) -> tuple[tuple[str, Precision], ...]:
        """Target and precision of every pipeline that runs here, known once they were timed."""
        opened = {about.name: about for timed in self.timed for about in timed.told.opened}
        runs: list[tuple[str, Precision]] = [
            (about.target, precision)
            for about in opened.values()
            for precision in ("int8", "fp16", "fp32")
            if about.name == f"{about.target} {precision}"
        ]
        return tuple(sorted(runs, key=lambda run: self.setting.targets.index(run[0])))

    @property
    def chosen(self) -> tuple[tuple[str, Precision], ...]:
        """Those of them that the plan measures by stage, scenario and footprint."""
        if self.setting.plan.every_precision:
            return self.students
        first = dict(reversed(self.students))
        return tuple(run for run in self.students if first[run[0]] == run[1])

    def report(self, *, complete: bool) -> Report:
        """All of it; parts that were not measured are empty."""
        manifest, setting = self.bundle.manifest, self.setting
        reference = reference_of(self.timed, engine_name(setting.targets[0], "int8"))
        candidates = self._candidates(reference)
        if self.floors:
            candidates += (floor_row(self.floors, "int8", setting.threads),)
        return Report(
            schema=SCHEMA,
            bundle=manifest.name,
            bundle_version=manifest.version,
            bundle_sha256=self.bundle.sha256,
            labels=manifest.labels,
            machine=self.setting.machine,
            settings=self._settings(),
            others_cores=self.bystanders.cores(),
            reference=reference,
            candidates=candidates,
            stages=tuple(self.stages),
            scenarios=tuple(self.scenarios),
            accuracy=tuple(self.accuracy),
            footprint=tuple(self.footprint),
            growth=tuple(self.growth),
            missing=(*missing_rows(self.timed), *self.missing),
            complete=complete,
        )

    def _candidates(self, reference: str) -> tuple[Candidate, ...]:
        count, rows = self._rows  # the bootstrap takes seconds
        if count != len(self.timed):
            rows = tuple(map(self._explained, candidate_rows(self.timed, reference)))
            self._rows = (len(self.timed), rows)
        return rows

    def _explained(self, row: Candidate) -> Candidate:
        """An ensemble's row says where the ensemble is from."""
        ensemble = self.setting.ensemble
        if isinstance(ensemble, Missing) or row.name != ensemble_name(row.target):
            return row
        return msgspec.structs.replace(row, what=f"{row.what}; {ensemble.what}")

    def _settings(self) -> Settings:
        setting = self.setting
        rounds = [len(next(iter(timed.samples.values()), ())) for timed in self.timed]
        return Settings(
            mode=setting.mode,
            command=setting.command,
            processes=len(self.timed),
            rounds=sum(rounds),
            warmup=setting.plan.warmup,
            threads=setting.threads,
            isa_cap=setting.isa_cap,
            cpu_quota=setting.cpu_quota,
            seed=SEED,
            data=setting.data,
            labelled="" if isinstance(setting.prepared, Missing) else setting.prepared.what,
            timer_ns=self.timer_ns,
        )


Mode = Literal["quick", "standard", "full"]


class Plan(NamedTuple):
    """Counts and seconds; of turns, what is said is the least."""

    processes: int
    """Fresh ones that time all candidates."""
    seconds: float
    """Of turns in each."""
    rounds: int
    """In each, at least."""
    warmup: int
    """Untimed calls of each candidate in each."""
    floor_runs: int
    floor_s: int
    stages_s: float
    """Of each target and precision."""
    starts: int
    """Processes from their start to a finding, of each target and precision."""
    energy_s: float
    """Of each candidate, in the first process."""
    every_precision: bool
    """Whether stages and footprint are measured of all precisions, or of INT8 alone."""


PLANS: dict[Mode, Plan] = {
    "quick": Plan(
        processes=3,
        seconds=5,
        rounds=5,
        warmup=3,
        floor_runs=3,
        floor_s=1,
        stages_s=2,
        starts=3,
        energy_s=1,
        every_precision=False,
    ),
    "standard": Plan(
        processes=24,
        seconds=10,
        rounds=10,
        warmup=5,
        floor_runs=6,
        floor_s=3,
        stages_s=8,
        starts=10,
        energy_s=5,
        every_precision=True,
    ),
    "full": Plan(
        processes=40,
        seconds=30,
        rounds=20,
        warmup=10,
        floor_runs=12,
        floor_s=10,
        stages_s=30,
        starts=20,
        energy_s=20,
        every_precision=True,
    ),
}
