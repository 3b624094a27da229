"""The decision on one image: calibrated probabilities, conformal label set, report or refer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.manifest import Calibration, OutOfDistribution
from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.image_quality import QualityIssue
from orthoedge.runtime.image_statistics import statistics_terms

Decision = Literal["report", "refer", "reject"]

_LEAST = 1e-15  # probability that a float64 can tell from 0, and its complement from 1


@dataclass(frozen=True)
class Verdict:
    """The decision on one image with its probabilities and reasons."""

    label: str
    """The most probable label."""
    probabilities: dict[str, float]
    """Calibrated; they sum to 1."""
    label_set: tuple[str, ...]
    """Labels that cannot be ruled out, most probable first; alert labels are never dropped."""
    out_of_distribution: float
    """Out-of-distribution score: 0 = the median of calibration images, 1 = the threshold."""
    decision: Decision
    reasons: tuple[str, ...]
    """Why it is not `report`, in English; empty where it is."""
    reason_ids: tuple[ReasonId, ...] = ()
    """Identifiers of `reasons`, in the same order."""


def decide(
    logits: npt.NDArray[np.float32],
    ood_score: float,
    issues: Sequence[QualityIssue],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
) -> Verdict:
    """Decide on one image.

    Args:
        logits: float32 (C,), before temperature.
        ood_score: of the image, from an `OodScore`.
        issues: from `check_image_quality`.
        labels: C names.
        alert_labels: labels that are never dropped silently from the set.
        calibration: for the precision that ran.
    """
    probabilities = dict(zip(labels, _softmax(logits, calibration.temperature), strict=True))
    ranked = sorted(labels, key=lambda label: -probabilities[label])
    label_set = tuple(
        label
        for label in ranked
        if label == ranked[0]
        or probabilities[label] >= 1 - calibration.conformal_quantile
        or (label in alert_labels and probabilities[label] >= calibration.operating_points[label])
    )
    label = ranked[0]
    reasons = [(issue.reason, issue.id) for issue in issues if issue.decision == "reject"]
    if ood_score > calibration.out_of_distribution.reject:
        reason = "not like a bone radiograph of the kind it was trained on"
        reasons.append((reason, ReasonId("unlike_any_radiograph")))
    decision: Decision = "reject" if reasons else "report"
    if not reasons:  # reasons to refer would only distract from those to reject
        reasons = [(issue.reason, issue.id) for issue in issues]
        if len(label_set) > 1:
            reason = f"cannot rule out {' or '.join(label_set[1:])}"
            reasons.append((reason, ReasonId("label_set")))
        required = calibration.operating_points[label], 1 - calibration.conformal_quantile
        if probabilities[label] < max(required):
            reason = f"{label} is below the calibrated confidence"
            reasons.append((reason, ReasonId("below_confidence", {"label": label})))
        if ood_score > 1:
            reasons.append(("unlike the images it was trained on", ReasonId("unlike_training")))
        decision = "refer" if reasons else "report"
    return Verdict(
        label,
        probabilities,
        label_set,
        ood_score,
        decision,
        reasons=tuple(reason for reason, _ in reasons),
        reason_ids=tuple(identifier for _, identifier in reasons),
    )


def _softmax(logits: npt.NDArray[np.float32], temperature: float) -> list[float]:
    """Softmax of a few numbers, for which numpy is slower."""
    scaled = [logit / temperature for logit in logits.tolist()]
    highest = max(scaled)
    exponents = [math.exp(value - highest) for value in scaled]
    total = sum(exponents)
    return [exponent / total for exponent in exponents]


OOD_MARGINS = ("out of distribution", "reject")
"""Names of the margins of the out-of-distribution score in `threshold_margins`."""


def threshold_margins(verdict: Verdict, calibration: Calibration) -> dict[str, float]:
    """Compute how far each number that `decide` compares is above its threshold; negative: below.

    Two verdicts with the same calibration agree unless one of these changes its sign. Probabilities
    are compared in log-odds, because a change of the logits moves those equally far everywhere, and
    the probability itself less the closer it is to 0 or 1. The out-of-distribution score is
    compared in its own units.
    """
    ood_score = verdict.out_of_distribution
    thresholds = 1, calibration.out_of_distribution.reject
    margins = {n: ood_score - t for n, t in zip(OOD_MARGINS, thresholds, strict=True)}
    in_set = _log_odds(1 - calibration.conformal_quantile)
    for label, probability in verdict.probabilities.items():
        others = (p for other, p in verdict.probabilities.items() if other != label)
        own, highest = max(probability, _LEAST), max(*others, _LEAST)
        margins[f"{label} first"] = math.log(own / highest)
        margins[f"{label} in the set"] = _log_odds(probability) - in_set
        confident = _log_odds(calibration.operating_points[label])
        margins[f"{label} confident"] = _log_odds(probability) - confident
    return margins


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(clipped / (1 - clipped))


def percentage(probability: float) -> str:
    """Format a probability; rounding must not make it look certain."""
    return f"{probability:.1%}" if probability < 0.9995 else "over 99.9%"


class OodScore:
    """Out-of-distribution score of an image, in units of the threshold.

    A logistic regression between training images and synthetic images of other kinds (outlier
    exposure; Hendrycks, Mazeika and Dietterich, ICLR 2019), linear in the feature vector and
    quadratic in the image statistics.

    Args:
        statistics: weights of the precision that runs.
    """

    def __init__(self, statistics: OutOfDistribution) -> None:
        self._features = np.array(statistics.features)
        self._mean = np.array(statistics.statistics_mean)
        self._std = np.array(statistics.statistics_std)
        self._weights = np.array(statistics.statistics_weights)
        self._offset, self._threshold = statistics.offset, statistics.threshold

    def __call__(
        self, features: npt.NDArray[np.float32], statistics: npt.NDArray[np.float32]
    ) -> float:
        """Score an image by its features (K,) and image statistics (L,).

        0 is the median of calibration images, 1 the threshold; below 0 is more typical than the
        median.
        """
        terms = statistics_terms(statistics, self._mean, self._std)
        score = features @ self._features + terms @ self._weights + self._offset
        return float(score / self._threshold)
