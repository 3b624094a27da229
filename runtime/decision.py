"""From logits to what is said: probabilities, the set of plausible labels, and a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.manifest import Calibration, OutOfDistribution

Decision = Literal["report", "refer", "reject"]

# In units of the out-of-distribution threshold: beyond this an image is not a bone radiograph of
# the kind the bundle knows, and a label would mislead even with a warning beside it.
_REJECT_FACTOR = 4.0


@dataclass(frozen=True)
class Verdict:
    """What the numbers amount to."""

    label: str
    """The most probable label."""
    probabilities: dict[str, float]
    """Calibrated; they sum to 1."""
    label_set: tuple[str, ...]
    """Labels that cannot be ruled out, most probable first; alert labels are never dropped."""
    out_of_distribution: float
    """Distance from the training images, 1 = the threshold."""
    decision: Decision
    reasons: tuple[str, ...]
    """Why it is not `report`; empty where it is."""


def decide(
    logits: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
) -> Verdict:
    """Decide on one image.

    Args:
        logits: float32 (C,), before temperature.
        features: float32 (K,).
        labels: C names.
        alert_labels: those never dropped silently from the set.
        calibration: that of the precision which ran.
    """
    scaled = logits.astype(np.float64) / calibration.temperature
    exponent = np.exp(scaled - scaled.max())
    values = exponent / exponent.sum()
    probabilities = dict(zip(labels, map(float, values), strict=True))
    ranked = sorted(labels, key=lambda label: -probabilities[label])
    label_set = tuple(
        label
        for label in ranked
        if label == ranked[0]
        or probabilities[label] >= 1 - calibration.conformal_quantile
        or (label in alert_labels and probabilities[label] >= calibration.operating_points[label])
    )
    distance = distribution_distance(features, calibration.out_of_distribution)
    reasons = []
    if len(label_set) > 1:
        reasons.append(f"cannot rule out {' or '.join(label_set[1:])}")
    if probabilities[ranked[0]] < 1 - calibration.conformal_quantile:
        reasons.append(f"{ranked[0]} is below the calibrated confidence")
    if distance > 1:
        reasons.append("unlike the images it was trained on")
    decision: Decision = "refer" if reasons else "report"
    if distance > _REJECT_FACTOR:
        decision = "reject"
    return Verdict(ranked[0], probabilities, label_set, distance, decision, tuple(reasons))


def margins(
    verdict: Verdict, alert_labels: tuple[str, ...], calibration: Calibration
) -> dict[str, float]:
    """How far each number that `decide` compares lies above its threshold; negative: below.

    Two verdicts of one calibration say the same unless one of these changes its sign. Probabilities
    are in their own units, the distance from the training images in units of each threshold.
    """
    distance = verdict.out_of_distribution
    found = {"out of distribution": distance - 1, "reject": distance / _REJECT_FACTOR - 1}
    for label, probability in verdict.probabilities.items():
        others = (p for other, p in verdict.probabilities.items() if other != label)
        found[f"{label} first"] = probability - max(others)
        found[f"{label} in the set"] = probability - (1 - calibration.conformal_quantile)
        if label in alert_labels:
            found[f"{label} alert"] = probability - calibration.operating_points[label]
    return found


def distribution_distance(
    features: npt.NDArray[np.float32], statistics: OutOfDistribution
) -> float:
    """Mean squared deviation of (K,) features in units of the threshold (diagonal Mahalanobis)."""
    deviation = (features - np.asarray(statistics.mean)) / np.asarray(statistics.deviation)
    return float(np.mean(deviation**2) / statistics.threshold)
