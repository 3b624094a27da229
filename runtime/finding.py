"""What a pipeline answers, and all that is needed to get the same answer again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.decision import Decision, Verdict
from orthoedge.runtime.preprocess import LetterboxTransform


@dataclass(frozen=True)
class Provenance:
    """What ran; with the thresholds it is enough to get the same numbers again."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    engine: str
    engine_version: str
    precision: str
    isa: str
    threads: int
    """Of one inference: the last bits of some engines depend on it."""
    fallback: str
    """Why this engine or precision ran in place of the one asked for; empty where none did."""


@dataclass(frozen=True)
class Thresholds:
    """The settings the decision was made with."""

    temperature: float
    conformal_quantile: float
    operating_points: dict[str, float]
    out_of_distribution: float
    out_of_distribution_reject: float


@dataclass(frozen=True)
class Timing:
    """Milliseconds per stage."""

    read: float
    """Decoding; 0 for an array."""
    preprocess: float
    inference: float
    """Logits, map and features come in one pass."""
    decide: float

    @property
    def total(self) -> float:
        """Sum of the stages."""
        return self.read + self.preprocess + self.inference + self.decide


@dataclass(frozen=True)
class Finding:
    """The answer for one radiograph."""

    verdict: Verdict
    saliency_map: npt.NDArray[np.float32]
    """float32 (h, w), Grad-CAM++ of the most probable label over the network's square."""
    placement: LetterboxTransform
    """Where that square lies on the radiograph."""
    input_size: int
    """Side of that square, in pixels."""
    notes: tuple[str, ...]
    """What intake had to say, and what happened when the engine was opened."""
    notice: str
    """Intended use of the bundle, to be shown beside the answer."""
    thresholds: Thresholds
    provenance: Provenance
    timing_ms: Timing

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.verdict.label

    @property
    def probabilities(self) -> dict[str, float]:
        """Calibrated probability of every label."""
        return self.verdict.probabilities

    @property
    def decision(self) -> Decision:
        """`report`, `refer` or `reject`."""
        return self.verdict.decision

    def to_json(self) -> bytes:
        """One line of JSON with everything but the map's geometry in words."""
        verdict = msgspec.to_builtins(self.verdict)
        return msgspec.json.encode(
            {
                **verdict,
                "saliency_map": np.round(self.saliency_map.astype(float), 4).tolist(),
                "placement": self.placement,
                "input_size": self.input_size,
                "notes": self.notes,
                "notice": self.notice,
                "thresholds": self.thresholds,
                "provenance": self.provenance,
                "timing_ms": {
                    **msgspec.to_builtins(self.timing_ms),
                    "total": self.timing_ms.total,
                },
            }
        )
