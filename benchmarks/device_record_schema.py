"""What a record of one target on one machine holds: `benchmarks/device_record.py` fills it in."""

from __future__ import annotations

import msgspec

from orthoedge.benchmarks.machine import Machine
from orthoedge.runtime.engine import Precision
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.plan_builder import Layer
from orthoedge.targets.jetson.power import Power
from orthoedge.targets.jetson.telemetry import Absent, Board, Clock

SCHEMA = 1


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Check(_Record, frozen=True):
    """One line of `orthoedge verify`."""

    name: str
    measured: float | None
    """None: not a finite number, which never passes."""
    limit: float
    passed: bool


class Timed(_Record, frozen=True):
    """A stretch of calls, one after another in one thread, and what the machine did meanwhile."""

    warmup: int
    """Calls before, untimed."""
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    highest_ms: float
    gpu_clocks: tuple[Clock, ...]
    """As the last call ended."""
    power: Power | None
    no_power: str
    """Why `power` is None."""
    others_cores: float | None
    """Cores that other processes kept busy; above 0.1 the figures are not to be quoted."""


class PlanFacts(_Record, frozen=True):
    """The TensorRT plan that ran."""

    sha256: str
    bytes: int
    built: bool
    """For this record; else an earlier start had kept it."""
    refused: str
    """Why a kept one was not used."""
    warnings: tuple[str, ...]
    """TensorRT's words while it was built."""
    graph: str
    """`captured`, or why no CUDA graph was."""
    layer_counts: dict[str, int]
    """How many layers run in each precision, as TensorRT's inspector tells."""
    layers: tuple[Layer, ...]


class Ran(_Record, frozen=True):
    """One precision that ran to the end."""

    precision: Precision
    model_sha256: str
    engine: str
    version: str
    isa: str
    threads: int
    plan: PlanFacts | None
    """None: the target has no plans."""
    checks: tuple[Check, ...]
    """Golden images against the bundle's answers and tolerances, decisions among them."""
    engine_alone: Timed
    """Golden images in turn, uint8 (1, 1, S, S) each, to logits, map and features."""
    pipeline: Timed
    """`radiograph` in memory to finding."""


class Record(_Record, frozen=True):
    """All of it."""

    schema: int
    created: str
    """UTC, ISO 8601."""
    passed: bool
    """Everything that was asked for ran, and every check passed."""
    target: str
    bundle: str
    bundle_version: str
    bundle_sha256: str
    radiograph: str
    """Name and size of the sample that the pipeline was timed with."""
    machine: Machine
    device: Device | None
    """The GPU, its driver and TensorRT; None where the target has none, or none was found."""
    before: Board
    after: Board
    """Right after the last call, still warm."""
    ran: tuple[Ran, ...]
    missing: tuple[Absent, ...]
    """What was asked for and did not run, and why."""
