"""What a compression leaves in report.json: the search, the ablation, the retreat and the gate."""

from __future__ import annotations

from typing import Literal

import msgspec

from orthoedge.compression.evaluation.engine_agreement import EngineAgreement
from orthoedge.compression.gate import Check
from orthoedge.runtime.bundles.manifest import Metrics
from orthoedge.runtime.engine import Precision


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Candidate(_Record, frozen=True):
    """One student at one size, as an INT8 file; scores are of the validation part."""

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
    """Of the validation part."""
    accuracy: float
    """With its 95 % interval by bootstrap over groups."""
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    chosen: bool
    """Went on to the gate."""


class PruneStep(_Record, frozen=True):
    """One cut and what it was worth."""

    student: str
    """timm name."""
    share: float
    """Of the whole network's channels."""
    macs_before: int
    """Multiply-accumulates of one image, of what was cut."""
    macs: int
    """The same of what was left."""
    p50_before: float
    """Milliseconds of one INT8 inference on the target; both were timed in turn, in one run."""
    p50_after: float
    ratio: float
    """`p50_after` over `p50_before`, with its 95 % interval; below 1 is faster."""
    ratio_low: float
    ratio_high: float
    kept: bool
    """The measured p50 fell; a cut that was not kept is not built upon."""
    accuracy: float | None
    """Of the validation part, after recovery, in float32; None: the cut was not kept."""
    macro_f1: float | None
    """The same."""


class Stage(_Record, frozen=True):
    """A row of the ablation: the teacher, or a student with one more thing added or taken away."""

    name: str
    """Such as "teacher", "student, labels alone", "+ logits", "+ INT8"."""
    precision: Precision
    metrics: Metrics
    """On the test part."""
    bytes: int
    """Size of the ONNX file."""
    macs: int
    """Multiply-accumulates of one image."""
    parameters: int
    p50_ms: float
    """Median of one inference on the target."""
    speedup: float | None
    """The teacher's p50 over this, from one run; None: was not timed beside it."""


class Retreat(_Record, frozen=True):
    """Layers of the INT8 file that went back to float, and what that cost and won."""

    layers: tuple[str, ...]
    """Node names, the most sensitive first."""
    rmse_before: float
    """RMSE of the INT8 file's logits from the float file's, over their standard deviation."""
    rmse_after: float
    macro_f1_before: float
    """Of the validation part."""
    macro_f1_after: float
    p50_before: float
    """Milliseconds of one inference on the target."""
    p50_after: float


class CompressionReport(_Record, frozen=True):
    """report.json. What was not reached is empty."""

    recipe: str
    """Its name."""
    target: str
    """Where everything was timed."""
    threads: int
    """Of the engine."""
    machine: str
    """Processor and cores, as `orthoedge.benchmarks.machine` names them."""
    teacher: tuple[str, ...]
    """timm names of the ensemble's backbones."""
    alert_labels: tuple[str, ...]
    """Labels whose recall the ablation shows."""
    data: Literal["phantoms", "radiographs"]
    budget_ms: float
    """Largest p50 that was asked for; 0: none."""
    candidates: tuple[Candidate, ...]
    """In the order in which they were measured."""
    trace: tuple[PruneStep, ...]
    """The same."""
    stages: tuple[Stage, ...]
    """The teacher first, what is shipped last."""
    bystanders: float | None
    """Cores kept busy by other processes while the stages were timed; None: not known."""
    retreat: Retreat | None
    """None: every layer that can be INT8 is."""
    agreement: tuple[EngineAgreement, ...]
    """Of other engines and instruction sets with the reference, on the INT8 file."""
    gate: tuple[Check, ...]
    bundle: str | None
    """Folder of the bundle; None: none was written."""
