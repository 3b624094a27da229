"""Do the engines and instruction sets that a file may meet give the same answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.compression.calibration.ood_score import looks_of
from orthoedge.runtime.bundles.manifest import Calibration
from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS, run_with_isa_limit, why_unavailable
from orthoedge.targets.verification import decision_flips


class EngineAgreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One engine against OpenVINO with all of this processor's instructions, on the same file."""

    engine: str
    """`onnxruntime`, or `openvino` and the instruction set it was kept to."""
    images: int
    """How many were compared; 0: it did not run, and nothing else is known."""
    logit_rmse: float
    """RMSE of the logits' difference over the standard deviation of the reference's logits."""
    label_changes: int
    """Images whose most probable label differs."""
    flips: int
    """Images whose decision differs though it was not near a threshold; see `flips`."""
    skipped: str = ""
    """Why it did not run; empty where it did."""

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.engine}: not run, {self.skipped}"
        return (
            f"{self.engine}: logit RMSE {self.logit_rmse:.4f}, {self.label_changes} labels and "
            f"{self.flips} clear decisions changed on {self.images} images"
        )


def engine_agreement(
    model: bytes,
    size: int,
    precision: Precision,
    images: npt.NDArray[np.uint8],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
    caps: Sequence[str] = ISA_LIMITS,
) -> list[EngineAgreement]:
    """Compare ONNX Runtime and OpenVINO at lesser instruction sets with OpenVINO as it is.

    Args:
        model: an ONNX file with the common face.
        size: side S of its input, in pixels.
        precision: what the file is.
        images: uint8 (N, 1, S, S).
        labels: C names.
        alert_labels: those never dropped silently from a finding's set.
        calibration: of this precision.
        caps: instruction sets to hold OpenVINO to, of `targets/isa_limit.py`.

    Returns:
        One entry per engine; one that this processor cannot run says so in `skipped`.

    Raises:
        MissingDependency: OpenVINO or ONNX Runtime is not installed.
        EngineError: an engine refused the model, failed, or its logits are not finite.
    """
    reference = run_batched(open_model(model, size, "x86", precision), images)

    looks = looks_of(images[:, 0])

    def compare(engine: str, outputs: Outputs) -> EngineAgreement:
        return EngineAgreement(
            engine=engine,
            images=len(images),
            logit_rmse=logit_rmse(reference, outputs),
            label_changes=int((reference.logits.argmax(1) != outputs.logits.argmax(1)).sum()),
            flips=decision_flips(reference, outputs, looks, labels, alert_labels, calibration),
        )

    portable = open_model(model, size, "portable", precision)
    found = [compare(portable.name, run_batched(portable, images))]
    for cap in caps:
        engine = f"openvino {cap}"
        if reason := why_unavailable(cap):
            found.append(_skipped(engine, reason))
        else:
            found.append(
                compare(engine, run_with_isa_limit(model, size, precision, images, cap)[0])
            )
    return found


def logit_rmse(reference: Outputs, other: Outputs) -> float:
    """RMSE of the logits' difference over the standard deviation of the reference's logits."""
    difference = other.logits.astype(np.float64) - reference.logits
    spread = max(float(reference.logits.std()), 1e-12)
    return float(np.sqrt((difference**2).mean())) / spread


def _skipped(engine: str, reason: str) -> EngineAgreement:
    return EngineAgreement(
        engine=engine, images=0, logit_rmse=0.0, label_changes=0, flips=0, skipped=reason
    )
