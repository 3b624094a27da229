"""Fit temperature, conformal quantile and operating points on the calibration split."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from orthoedge.benchmarks.metrics.classification import softmax
from orthoedge.runtime.bundles.manifest import Confidence
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError

_ROUNDING = 1e-9  # 10 * (1 - 0.9) falls short of 1, and 100 * 0.55 exceeds 55


def calibrate(
    outputs: Outputs,
    truth: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    coverage: float,
    sensitivity: float,
) -> Confidence:
    """Calibrate one precision on outputs of the very engine and file that will run.

    Args:
        outputs: on the calibration split, N images used for neither training nor selection.
        truth: int64 (N,) true labels.
        labels: C names.
        coverage: share of images whose conformal set must contain the true label.
        sensitivity: share of a label's own images at or above its operating point.

    Raises:
        DataError: a label has no image in the calibration split.
    """
    for c, label in enumerate(labels):
        if not (truth == c).any():
            raise DataError(f"the calibration split has no image of {label}: add more images")
    temperature = fit_temperature(outputs.logits, truth)
    probabilities = softmax(outputs.logits, temperature)
    return Confidence(
        temperature=temperature,
        conformal_coverage=coverage,
        conformal_quantile=conformal_quantile(probabilities, truth, coverage),
        operating_points={
            label: operating_point(probabilities[truth == c, c], sensitivity)
            for c, label in enumerate(labels)
        },
    )


def fit_temperature(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> float:
    """Temperature, 0.05 to 20, of least negative log-likelihood (Guo et al., ICML 2017)."""

    def loss(log_temperature: float) -> float:
        true = softmax(logits, math.exp(log_temperature))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(true, 1e-12)).mean())

    minimum = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return math.exp(minimum.x)


def conformal_quantile(
    probabilities: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], coverage: float
) -> float:
    """Split-conformal quantile of 1 - p(true); sets hold the labels with p >= 1 - quantile.

    Sadinle, Lei and Wasserman, JASA 114 (2019): of n scores the ⌈(n + 1) · coverage⌉-th smallest.
    With too few images for the coverage, the quantile is 1 and every label is in every set.
    """
    scores = np.sort(1 - probabilities[np.arange(len(truth)), truth])
    rank = math.ceil((len(scores) + 1) * coverage - _ROUNDING)
    return 1.0 if rank > len(scores) else float(scores[rank - 1])


def operating_point(probabilities: npt.NDArray[np.float64], sensitivity: float) -> float:
    """Highest threshold that `sensitivity` of a class's own images, (n,), reach or exceed."""
    allowed_misses = math.floor(len(probabilities) * (1 - sensitivity) + _ROUNDING)
    return float(np.sort(probabilities)[allowed_misses])
