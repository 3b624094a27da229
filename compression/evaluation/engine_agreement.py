"""Compare the engines and instruction sets that may run a model file."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.manifest import Calibration
from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS, run_with_isa_limit, why_unavailable
from orthoedge.targets.verification import decision_flips, usual_difference


class EngineConsistency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One engine against OpenVINO with all of this processor's instructions, on the same file."""

    engine: str
    """`onnxruntime`, or `openvino` and the instruction set it was limited to."""
    images: int
    """Number of images compared; 0: the engine did not run."""
    logit_rmse: float
    """RMSE of the logits' difference over the standard deviation of the reference's logits."""
    label_changes: int
    """Images whose most probable label differs."""
    decision_flips: int
    """Images whose decision differs though no value was near a threshold."""
    near_log_odds: float | None = None
    """Log-odds within which a probability is near its threshold; None: 0.02 in probability."""
    near_ood_score: float | None = None
    """The same for the out-of-distribution score, in units of its threshold."""
    skipped: str = ""
    """Why the engine did not run; empty if it ran."""

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.engine}: not run, {self.skipped}"
        return (
            f"{self.engine}: logit RMSE {self.logit_rmse:.4f}, {self.label_changes} labels and "
            f"{self.decision_flips} clear decisions changed on {self.images} images"
        )


def compare_engines(
    model: bytes,
    size: int,
    precision: Precision,
    images: npt.NDArray[np.uint8],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
    isa_limits: Sequence[str] = ISA_LIMITS,
) -> list[EngineConsistency]:
    """Compare ONNX Runtime, and OpenVINO with fewer instructions, with OpenVINO unrestricted.

    Args:
        model: an ONNX file with the common interface.
        size: side S of its input, in pixels.
        precision: of the file.
        images: uint8 (N, 1, S, S).
        labels: C names.
        alert_labels: never dropped silently from a finding's label set.
        calibration: of this precision.
        isa_limits: instruction sets to limit OpenVINO to, of `targets/isa_limit.py`.

    Returns:
        One entry per engine; `skipped` is set where this processor lacks the instructions.

    Raises:
        MissingDependency: OpenVINO or ONNX Runtime is not installed.
        EngineError: an engine refused the model, failed, or its logits are not finite.
    """
    reference = run_batched(open_model(model, size, "x86", precision), images)
    statistics = np.stack([image_statistics(image) for image in images[:, 0]])

    def compare(engine: str, outputs: Outputs) -> EngineConsistency:
        near = usual_difference(reference, outputs, statistics, calibration)
        return EngineConsistency(
            engine=engine,
            images=len(images),
            logit_rmse=logit_rmse(reference, outputs),
            label_changes=int((reference.logits.argmax(1) != outputs.logits.argmax(1)).sum()),
            decision_flips=decision_flips(
                reference, outputs, statistics, labels, alert_labels, calibration, near
            ),
            near_log_odds=near.log_odds,
            near_ood_score=near.ood_score,
        )

    portable = open_model(model, size, "portable", precision)
    results = [compare(portable.name, run_batched(portable, images))]
    for limit in isa_limits:
        engine = f"openvino {limit}"
        if reason := why_unavailable(limit):
            results.append(_skipped(engine, reason))
        else:
            outputs, *_ = run_with_isa_limit(model, size, precision, images, limit)
            results.append(compare(engine, outputs))
    return results


def logit_rmse(reference: Outputs, other: Outputs) -> float:
    """RMSE of the logits' difference over the standard deviation of the reference's logits."""
    difference = other.logits.astype(np.float64) - reference.logits
    spread = max(float(reference.logits.std()), 1e-12)
    return float(np.sqrt((difference**2).mean())) / spread


def _skipped(engine: str, reason: str) -> EngineConsistency:
    return EngineConsistency(
        engine=engine, images=0, logit_rmse=0.0, label_changes=0, decision_flips=0, skipped=reason
    )
