"""What `orthoedge benchmark` leaves in report.json. docs/benchmarks.md explains it to a reader.

Times are milliseconds, memory and sizes MB (10^6 bytes), energy millijoules; each says so in its
name. A value that could not be had is None, and `missing` says why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.benchmarks.machine import Machine
from orthoedge.runtime.atomic_files import write_atomic

SCHEMA = "orthoedge-benchmark-1"

Verdict = Literal["holds", "does not hold", "cannot tell"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Interval(_Record, frozen=True):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Missing(_Record, frozen=True):
    """Something that was asked for and could not be measured."""

    what: str
    why: str


class Quantiles(_Record, frozen=True):
    """Of one candidate's times, all processes together; ms."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float | None
    """None: fewer than 100 samples. Likewise p99.9 under 1,000."""
    p999: float | None
    curve: tuple[float, ...]
    """Percentiles 0, 1, 2, … 100, to draw."""


class Candidate(_Record, frozen=True):
    """One thing that was timed in turn with the others, on the same radiographs."""

    name: str
    """Unique in a report: `x86 int8` is a pipeline, `x86 int8 engine` its bare engine,
    `ensemble x86` the float32 ensemble's engine; `seeds`, `floor`."""
    what: str
    """What a call does, in words."""
    target: str
    """`x86`, `portable`, `jetson`; empty for a peer of another kind."""
    engine: str
    version: str
    precision: str
    isa: str
    threads: int
    latency: Quantiles
    ratio: Interval
    """How many times as long its turn takes as that of `Report.reference` in the same round of the
    same process: median of the rounds. Not quite the quotient of the two p50."""
    energy_mj: float | None
    """Of one call; None: no sensor, or nothing that could be told apart from noise."""


class Stage(_Record, frozen=True):
    """One stage of the pipeline, or one way in, of one target and precision; same run."""

    name: str
    """`read png`, `preprocess`, `engine`, `engine, logits alone`, `decision`, `from memory`, …"""
    target: str
    precision: str
    latency: Quantiles


class Scenario(_Record, frozen=True):
    """One of MLPerf Inference's edge scenarios, by its rules or in a shortened run."""

    name: Literal["SingleStream", "MultiStream", "Offline"]
    target: str
    precision: str
    queries: int
    images_per_query: int
    seconds: float
    latency: Quantiles | None
    """Of a query, from when it was due; None for Offline."""
    images_per_s: float
    quoted: str
    """The scenario's own figure in words, such as `p90 1.42 ms`."""
    valid: bool
    """Whether the rules on count and duration were kept."""
    why: str
    """Which were not; empty where all were."""


class Confidence(_Record, frozen=True):
    """A bin of the reliability diagram."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class Accuracy(_Record, frozen=True):
    """What one target and precision is worth on labelled radiographs."""

    target: str
    precision: str
    images: int
    accuracy: Interval
    macro_f1: Interval
    alert_recall: dict[str, Interval]
    """Recall of each alert label, such as tumor-malignant."""
    ece: Interval
    pointing: Interval | None
    """Share of the lesions that the map peaks in; None: no boxes."""
    coverage: Interval
    """Share of the images that are reported, neither referred nor rejected."""
    accuracy_reported: Interval | None
    """Of those that are; None: none is."""
    agreement: Interval | None
    """Share of labels that the float32 ensemble gives too; None: no reference."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: true label, column: said."""
    reliability: tuple[Confidence, ...]
    holds_99: Verdict | None
    """Macro-F1 of at least 99 % of the reference's on the same images, after MLPerf's rule."""
    share_of_reference: Interval | None


class Footprint(_Record, frozen=True):
    """What it takes to carry and to start."""

    target: str
    precision: str
    model_mb: float
    bundle_mb: float
    wheel_mb: float | None
    environment_mb: float | None
    """Of a new environment with nothing but this target."""
    cold_start_ms: Quantiles | None
    """From the creation of the process to its first finding."""
    cached_start_ms: Quantiles | None
    """The same with a compile cache."""
    peak_rss_mb: float | None
    cold_start_ratio: Interval | None = None
    """To a process that imports numpy and OpenCV, in turn with it; older reports have none."""
    cached_start_ratio: Interval | None = None


class Growth(_Record, frozen=True):
    """How time or memory grows with one thing."""

    of: str
    """Such as `preprocess` or `predict FOLDER`."""
    by: str
    """Such as `pixels` or `files`."""
    unit: Literal["ms", "MB"]
    points: tuple[tuple[float, float], ...]
    exponent: Interval | None
    """k of a·x^k fitted to the upper half of the points; None: it does not grow as a power."""
    where: str
    """Where the cost is, in a sentence."""


class Settings(_Record, frozen=True):
    """How it was measured."""

    mode: Literal["quick", "standard", "full"]
    command: str
    processes: int
    """Fresh processes that each timed all candidates in turn."""
    rounds: int
    """In all of them together; in each a candidate has a turn of one call or several, slow ones
    in every fourth."""
    warmup: int
    """Untimed calls of each candidate before the first turn of a process."""
    threads: int
    isa_cap: str
    """Instruction set that the engine was kept to; empty: all that the processor has."""
    cpu_quota: float | None
    """Cores that the system let it use; None: all."""
    seed: int
    data: str
    """What was timed: how many radiographs, of what size."""
    labelled: str
    """What accuracy was measured on; empty: nothing."""
    timer_ns: float
    """What reading the clock twice costs, in nanoseconds."""


class Report(_Record, frozen=True):
    """A run of the benchmark of one bundle."""

    schema: str
    bundle: str
    bundle_version: str
    bundle_sha256: str
    labels: tuple[str, ...]
    machine: Machine
    settings: Settings
    others_cores: float | None
    """Cores that other programs kept busy meanwhile; None: the system does not say."""
    reference: str
    """Name of the candidate that every ratio is to."""
    candidates: tuple[Candidate, ...]
    stages: tuple[Stage, ...]
    scenarios: tuple[Scenario, ...]
    accuracy: tuple[Accuracy, ...]
    footprint: tuple[Footprint, ...]
    growth: tuple[Growth, ...]
    missing: tuple[Missing, ...]
    complete: bool
    """False: it was interrupted; what had been measured is here."""


def write_both(record: msgspec.Struct, markdown: str, folder: Path, name: str) -> None:
    """Write a record as NAME.json, for programs, and as NAME.md, for people."""
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_atomic(folder / f"{name}.json", encoded + b"\n")
    write_atomic(folder / f"{name}.md", markdown.encode())
