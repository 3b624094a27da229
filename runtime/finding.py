"""The finding: the result of a pipeline, with everything needed to reproduce it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.decision import Decision, Verdict
from orthoedge.runtime.lesions.measure import Lesion
from orthoedge.runtime.preprocess import LetterboxTransform


@dataclass(frozen=True)
class Provenance:
    """Bundle and engine that ran; with the thresholds enough to reproduce the numbers."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    engine: str
    engine_version: str
    precision: str
    isa: str
    threads: int
    """Threads of one inference; the last bits of some engines depend on it."""
    fallback: str
    """Why this engine or precision replaced the requested one; empty if it did not."""
    model_sha256: str = ""
    """SHA-256 of the bundle's ONNX file that ran; empty where the engine does not state it."""
    preprocessing: str | None = None
    """Library and version that prepared the radiograph, such as `native 0.1.0`; None for OpenCV,
    which gives the same bytes."""


@dataclass(frozen=True)
class Thresholds:
    """Settings of the decision."""

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
    """One pass for logits, map and features; in `map_results` also its wait for earlier ones."""
    decide: float

    @property
    def total(self) -> float:
        """Sum of the stages."""
        return self.read + self.preprocess + self.inference + self.decide


@dataclass(frozen=True)
class Finding:
    """The result for one radiograph."""

    verdict: Verdict
    saliency_map: npt.NDArray[np.float32]
    """float32 (h, w), Grad-CAM++ of the most probable label over the model input."""
    placement: LetterboxTransform
    """Position of the model input on the radiograph."""
    input_size: int
    """Side of the model input, in pixels."""
    notes: tuple[str, ...]
    """Remarks of the reader, and events on opening the engine."""
    notice: str
    """Intended use of the bundle, to be shown with the result."""
    thresholds: Thresholds
    provenance: Provenance
    timing_ms: Timing
    lesions: tuple[Lesion, ...] | None = None
    """Regions that the network outlines, the largest first; None where the bundle has no such
    output, and for a rejected radiograph."""

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
        """Encode as one line of JSON, with the map rounded to four decimals.

        The keys `lesions` and `provenance.preprocessing` are absent where they are None.
        """
        saliency_map = np.round(self.saliency_map.astype(float), 4).tolist()
        timing = {**msgspec.to_builtins(self.timing_ms), "total": self.timing_ms.total}
        provenance = vars(self.provenance).copy()
        if provenance["preprocessing"] is None:
            del provenance["preprocessing"]
        fields = vars(self) | {
            "saliency_map": saliency_map,
            "timing_ms": timing,
            "provenance": provenance,
        }
        if self.lesions is None:
            del fields["lesions"]
        return msgspec.json.encode(msgspec.to_builtins(fields.pop("verdict")) | fields)
