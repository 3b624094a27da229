"""Fit the score that tells training images from pictures of other kinds."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.manifest import OutOfDistribution
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.image_statistics import image_statistics, statistics_terms
from orthoedge.targets.engine_utils import run_batched

_REFER, _REJECT = 0.98, 0.995  # quantiles of calibration images that stay below
_SEED = 0
_LEAST_SPREAD = 1e-3
# Features move with an engine's rounding and the look does not: at a tenth of its scale a feature
# is taken where the look does not suffice, and no decision hangs on the last bit of INT8.
_TRUST = 0.1
_STRENGTH = 0.03  # inverse of the L2 penalty, on standardised numbers

Features = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


def fit_outlier_score(
    engine: Engine, seen: Pixels, outliers: Pixels, held_out: Pixels, features: Features
) -> OutOfDistribution:
    """Logistic regression on features and look (outlier exposure; Hendrycks et al., ICLR 2019).

    Training images are learned as they are and once more as other units would have taken them:
    otherwise the score learns the noise and the sharpness of one source in place of bones.

    Args:
        engine: on the very file that will run.
        seen: uint8 (M, S, S) training images, preprocessed.
        outliers: uint8 (O, S, S) pictures of other kinds, preprocessed.
        held_out: uint8 (N, S, S) calibration images, which set the thresholds.
        features: float32 (N, K) of these, from the same engine.

    Returns:
        Weights scaled so that the median of the calibration images scores 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    varied = np.stack([_vary(square, k) for k, square in enumerate(seen)])
    squares = np.concatenate([seen, varied, outliers])
    looks = looks_of(squares)
    centre, spread = looks.mean(axis=0), np.maximum(looks.std(axis=0), _LEAST_SPREAD)

    def describe(features: Features, looks: Features) -> Numbers:
        return np.concatenate([features, statistics_terms(looks, centre, spread)], axis=1)

    found = describe(run_batched(engine, squares[:, None]).feature_vector, looks)
    scaler = StandardScaler().fit(found)
    count = features.shape[1]
    trust = np.where(np.arange(found.shape[1]) < count, _TRUST, 1)
    model = LogisticRegression(C=_STRENGTH, max_iter=1000, class_weight="balanced")
    model.fit(scaler.transform(found) * trust, np.arange(len(squares)) >= 2 * len(seen))
    # Six digits are far below what an engine's rounding moves, and keep the manifest small.
    weights = [float(f"{weight:.6g}") for weight in model.coef_[0] * trust / scaler.scale_]
    scores = describe(features, looks_of(held_out)) @ np.array(weights)
    middle, refer, reject = np.quantile(scores, (0.5, _REFER, _REJECT))
    threshold = max(float(refer - middle), 1e-6)
    return OutOfDistribution(
        features=tuple(weights[:count]),
        statistics_mean=tuple(centre.tolist()),
        statistics_std=tuple(spread.tolist()),
        statistics_weights=tuple(weights[count:]),
        offset=-float(middle),
        threshold=threshold,
        reject=max(1.0, float(reject - middle) / threshold),
    )


def looks_of(squares: Pixels) -> Features:
    """The look of each of uint8 (N, S, S), float32 (N, L)."""
    return np.stack([image_statistics(square) for square in squares])


def _vary(square: Pixels, place: int) -> Pixels:
    """A radiograph as another unit would have shown it: shape, sharpness, grey levels, noise."""
    rng = np.random.default_rng([_SEED, place])
    size = len(square)
    linear = np.diag(np.exp(rng.normal(0, 0.15, 2))) + rng.normal(0, 0.1, (2, 2)) * (1 - np.eye(2))
    centre = np.full(2, (size - 1) / 2)
    matrix = np.column_stack([linear, centre - linear @ centre])
    values = square
    if rng.uniform() < 0.5:
        values = cv2.warpAffine(values, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    if rng.uniform() < 0.5:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 2.2))  # type: ignore[assignment]
    grey = 255 * (values / 255.0) ** np.exp(rng.normal(0, 0.4))
    grey = grey * rng.uniform(0.6, 1) + rng.uniform(0, 60)
    if rng.uniform() < 0.4:
        uneven = rng.normal(0, rng.uniform(3, 25), (6, 6))
        grey += cv2.resize(uneven, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.uniform() < 0.5:
        grey += rng.normal(0, rng.uniform(1, 9), grey.shape)
    varied: Pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    if rng.uniform() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 85))]
        coded = cv2.imencode(".jpg", varied, quality)[1]
        varied = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)  # type: ignore[assignment]
    if rng.uniform() < 0.5:
        varied = cv2.createCLAHE(2.0, (8, 8)).apply(varied)  # type: ignore[assignment]
    return varied
