"""From logits to what is said: probabilities, the set of plausible labels, and a decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.manifest import Calibration, OutOfDistribution
from orthoedge.runtime.image_quality import QualityIssue
from orthoedge.runtime.image_statistics import statistics_terms

Decision = Literal["report", "refer", "reject"]


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
    """How unlike the training images: 0 = the median of such images, 1 = the threshold."""
    decision: Decision
    reasons: tuple[str, ...]
    """Why it is not `report`; empty where it is."""


def decide(
    logits: npt.NDArray[np.float32],
    distance: float,
    faults: Sequence[QualityIssue],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
) -> Verdict:
    """Decide on one image.

    Args:
        logits: float32 (C,), before temperature.
        distance: of the image, from a `OodScore`.
        faults: what was found before inference.
        labels: C names.
        alert_labels: those never dropped silently from the set.
        calibration: that of the precision which ran.
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
    rejected = [fault.reason for fault in faults if fault.decision == "reject"]
    if distance > calibration.out_of_distribution.reject:
        rejected.append("not like a bone radiograph of the kind it was trained on")
    if rejected:  # doubts about an answer that is not given would only distract
        return Verdict(ranked[0], probabilities, label_set, distance, "reject", tuple(rejected))
    reasons = [fault.reason for fault in faults]
    if len(label_set) > 1:
        reasons.append(f"cannot rule out {' or '.join(label_set[1:])}")
    confident = calibration.operating_points[ranked[0]], 1 - calibration.conformal_quantile
    if probabilities[ranked[0]] < max(confident):
        reasons.append(f"{ranked[0]} is below the calibrated confidence")
    if distance > 1:
        reasons.append("unlike the images it was trained on")
    decision: Decision = "refer" if reasons else "report"
    return Verdict(ranked[0], probabilities, label_set, distance, decision, tuple(reasons))


def _softmax(logits: npt.NDArray[np.float32], temperature: float) -> list[float]:
    """Of so few numbers that numpy would take longer."""
    scaled = [logit / temperature for logit in logits.tolist()]
    highest = max(scaled)
    exponents = [math.exp(value - highest) for value in scaled]
    total = sum(exponents)
    return [exponent / total for exponent in exponents]


def threshold_margins(verdict: Verdict, calibration: Calibration) -> dict[str, float]:
    """How far each number that `decide` compares lies above its threshold; negative: below.

    Two verdicts of one calibration say the same unless one of these changes its sign. Probabilities
    are in their own units, the distance from the training images in units of each threshold. Of the
    two most probable labels one gains what the other loses, so their threshold lies half-way.
    """
    distance = verdict.out_of_distribution
    found = {
        "out of distribution": distance - 1,
        "reject": distance / calibration.out_of_distribution.reject - 1,
    }
    for label, probability in verdict.probabilities.items():
        others = (p for other, p in verdict.probabilities.items() if other != label)
        found[f"{label} first"] = (probability - max(others)) / 2
        found[f"{label} in the set"] = probability - (1 - calibration.conformal_quantile)
        found[f"{label} confident"] = probability - calibration.operating_points[label]
    return found


def percentage(probability: float) -> str:
    """A probability in words: no network is certain, and rounding must not say that one is."""
    return f"{probability:.1%}" if probability < 0.9995 else "over 99.9%"


class OodScore:
    """How unlike the training images an image is, in units of the threshold.

    A logistic regression between training images and drawn pictures of other kinds (outlier
    exposure; Hendrycks, Mazeika and Dietterich, ICLR 2019), linear in the feature vector and
    quadratic in the look.

    Args:
        statistics: weights of the precision that runs.
    """

    def __init__(self, statistics: OutOfDistribution) -> None:
        self._features = np.array(statistics.features)
        self._centre = np.array(statistics.statistics_mean)
        self._spread = np.array(statistics.statistics_std)
        self._terms = np.array(statistics.statistics_weights)
        self._offset, self._threshold = statistics.offset, statistics.threshold

    def __call__(self, features: npt.NDArray[np.float32], look: npt.NDArray[np.float32]) -> float:
        """Distance of an image from its features (K,) and its look (L,).

        0 is the median of calibration images, 1 the threshold; below 0 is closer than the median.
        """
        terms = statistics_terms(look, self._centre, self._spread)
        score = features @ self._features + terms @ self._terms + self._offset
        return float(score / self._threshold)
