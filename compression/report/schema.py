"""Structure of report.json: the search, the ablation, the float fallback and the gate."""

from __future__ import annotations

from typing import Literal

import msgspec

from orthoedge.benchmarks.schema import Interval
from orthoedge.compression.evaluation.engine_agreement import EngineConsistency
from orthoedge.compression.evaluation.flips import Flips
from orthoedge.compression.gate import Check
from orthoedge.runtime.bundles.manifest import CpuTarget, Metrics
from orthoedge.runtime.engine import Precision

SCHEMA = 2
"""Files without a number are of version 1."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class CandidateRecord(_Record, frozen=True):
    """One student at one size, as an INT8 file; scores are of the validation split."""

    student: str
    """timm name."""
    pruned: float
    """Share of the whole network's channels that was cut."""
    step: int
    """0: whole; n: after the n-th cut of the recipe."""
    macs: int
    """Multiply-accumulates of one image."""
    parameters: int
    bytes: int
    """Size of the INT8 file."""
    p50_ms: float
    """Median of one INT8 inference on the target, with its 95 % interval."""
    p50_low: float
    p50_high: float
    images: int
    """Of the validation split."""
    accuracy: float
    """With its 95 % interval by bootstrap over groups."""
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    chosen: bool
    """This candidate went on to the gate."""
    auc: Interval | None = None
    """Mean AUC within the collections; None where the recipe has no `source_labels`."""

    @property
    def quality(self) -> Interval:
        """What the Pareto front sets against p50: `auc`, or else the accuracy."""
        low, high = self.accuracy_low, self.accuracy_high
        return self.auc or Interval(value=self.accuracy, low=low, high=high)


class PruneStep(_Record, frozen=True):
    """One cut, with its speed and accuracy."""

    student: str
    """timm name."""
    share: float
    """Of the whole network's channels."""
    macs_before: int
    """Multiply-accumulates of one image before the cut."""
    macs: int
    """Multiply-accumulates of one image after the cut."""
    p50_before: float
    """Milliseconds of one INT8 inference on the target, timed interleaved with `p50_after`."""
    p50_after: float
    ratio: float
    """`p50_after` over `p50_before`, with its 95 % interval; below 1 is faster."""
    ratio_low: float
    ratio_high: float
    accepted: bool
    """The measured p50 fell. The next cut starts from the last accepted one."""
    accuracy: float | None
    """Of the validation split, after distilling again, in float32; None: the cut was rejected."""
    macro_f1: float | None
    """The same."""


class Stage(_Record, frozen=True):
    """A row of the ablation: the teacher, or the student with one more step applied."""

    name: str
    """Such as "teacher", "student, labels alone", "+ logits", "+ INT8"."""
    precision: Precision
    metrics: Metrics
    """On the test split."""
    bytes: int
    """Size of the ONNX file."""
    macs: int
    """Multiply-accumulates of one image."""
    parameters: int
    p50_ms: float
    """Median of one inference on the target."""
    speedup: float | None
    """The teacher's p50 over this one, from one run; None for the teacher itself."""
    flips: tuple[Flips, ...] = ()
    """Against the teacher on the test split: all images, then per label."""


class FloatFallback(_Record, frozen=True):
    """Layers of the INT8 file that run in float, with the error and speed before and after."""

    layers: tuple[str, ...]
    """Node names, the most sensitive first."""
    rmse_before: float
    """RMSE of the INT8 file's logits from the float file's, over their standard deviation."""
    rmse_after: float
    macro_f1_before: float
    """Of the validation split."""
    macro_f1_after: float
    p50_before: float
    """Milliseconds of one inference on the target."""
    p50_after: float


class CompressionReport(_Record, frozen=True):
    """report.json; steps that were not reached are empty."""

    schema: int
    """Version of this structure: `SCHEMA`."""
    recipe: str
    """Name of the recipe."""
    target: str
    """Engine on which everything was timed."""
    threads: int
    """Threads of the engine."""
    machine: str
    """Processor and cores, as `orthoedge.benchmarks.machine` names them."""
    teacher: tuple[str, ...]
    """timm names of the ensemble's backbones."""
    alert_labels: tuple[str, ...]
    """Labels whose recall the ablation shows."""
    data: Literal["phantoms", "radiographs"]
    budget_ms: float
    """Largest p50 allowed; 0: no budget."""
    candidates: tuple[CandidateRecord, ...]
    """In the order in which they were measured."""
    trace: tuple[PruneStep, ...]
    """The same."""
    stages: tuple[Stage, ...]
    """The teacher first, the shipped model last."""
    background_load: float | None
    """Cores that other processes kept busy while the stages were timed; None: unknown."""
    float_fallback: FloatFallback | None
    """None: every layer that can run in INT8 does."""
    engine_consistency: tuple[EngineConsistency, ...]
    """Other engines and instruction sets compared with the reference, on the INT8 file."""
    gate: tuple[Check, ...]
    bundle: str | None
    """Folder of the bundle; None: none was written."""
    cpu_targets: tuple[CpuTarget, ...] = ()
    """Targets that take the INT8 file for CPU engines; empty: the bundle has none."""
    cpu_engine_consistency: tuple[EngineConsistency, ...] = ()
    """`engine_consistency` on that file."""
    cpu_gate: tuple[Check, ...] = ()
    """Of that file: it decides whether the bundle has it."""
