"""Temperature, conformal quantile and operating points."""

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
        outputs: on the calibration part, N images that neither trained nor chose anything.
        truth: int64 (N,) true labels.
        labels: C names.
        coverage: share of images whose conformal set is to hold the true label.
        sensitivity: share of a label's own images that its operating point is to keep.

    Raises:
        DataError: a label has no image in the calibration part.
    """
    for c, label in enumerate(labels):
        if not (truth == c).any():
            raise DataError(f"the calibration part has no image of {label}: it needs more studies")
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
    """Temperature of least negative log-likelihood (Guo et al., ICML 2017), 0.05 to 20."""

    def loss(log_temperature: float) -> float:
        chosen = softmax(logits, math.exp(log_temperature))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return math.exp(found.x)


def conformal_quantile(
    probabilities: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], coverage: float
) -> float:
    """Split-conformal quantile of 1 - p(true): a set of labels with p >= 1 - quantile covers.

    Sadinle, Lei and Wasserman, JASA 114 (2019): of n scores the ⌈(n + 1) · coverage⌉-th smallest.
    With too few images for the coverage there is none; the quantile is then 1, and every label is
    in every set.
    """
    scores = np.sort(1 - probabilities[np.arange(len(truth)), truth])
    rank = math.ceil((len(scores) + 1) * coverage - _ROUNDING)
    return 1.0 if rank > len(scores) else float(scores[rank - 1])


def operating_point(probabilities: npt.NDArray[np.float64], sensitivity: float) -> float:
    """Highest threshold at which `sensitivity` of a class's own images, (n,), are at or above."""
    allowed_misses = math.floor(len(probabilities) * (1 - sensitivity) + _ROUNDING)
    return float(np.sort(probabilities)[allowed_misses])
