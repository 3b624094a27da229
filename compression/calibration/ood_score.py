"""Fit the score that separates training images from pictures of other kinds."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.manifest import OutOfDistribution
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.image_statistics import image_statistics, statistics_terms
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.appearance import as_jpeg

_REFER, _REJECT = 0.98, 0.99  # shares of calibration images below the thresholds
_SEED = 0
_MIN_STD = 1e-3
# Engines round features differently; image statistics are counted in integers. At full weight,
# features changed 4 clear decisions of 1,000 between OpenVINO and ONNX Runtime, so the fit sees
# them at a fifth of their scale, and uses them only where the statistics do not suffice.
_FEATURE_SCALE = 0.2
_STRENGTH = 0.03  # inverse of the L2 penalty, on standardised numbers

Features = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


def fit_outlier_score(
    engine: Engine, seen: Pixels, outliers: Pixels, held_out: Pixels, features: Features
) -> OutOfDistribution:
    """Fit a logistic regression on features and image statistics.

    Outlier exposure: Hendrycks et al., ICLR 2019. Training images are used unchanged and once more
    varied as by other X-ray units; otherwise the score learns the noise and sharpness of one source
    instead of bones.

    Args:
        engine: of the file that will run.
        seen: uint8 (M, S, S) training images, preprocessed.
        outliers: uint8 (O, S, S) pictures that are not radiographs, preprocessed.
        held_out: uint8 (N, S, S) calibration images, which set the thresholds.
        features: float32 (N, K) of the calibration images, from the same engine.

    Returns:
        Weights scaled so that the median of the calibration images scores 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    varied = np.stack([_vary(image, k) for k, image in enumerate(seen)])
    images = np.concatenate([seen, varied, outliers])
    statistics = _statistics(images)
    centre, spread = statistics.mean(axis=0), np.maximum(statistics.std(axis=0), _MIN_STD)

    def predictors(features: Features, statistics: Features) -> Numbers:
        return np.concatenate([features, statistics_terms(statistics, centre, spread)], axis=1)

    values = predictors(run_batched(engine, images[:, None]).feature_vector, statistics)
    scaler = StandardScaler().fit(values)
    count = features.shape[1]
    scale = np.where(np.arange(values.shape[1]) < count, _FEATURE_SCALE, 1)
    model = LogisticRegression(C=_STRENGTH, max_iter=1000, class_weight="balanced")
    model.fit(scaler.transform(values) * scale, np.arange(len(images)) >= 2 * len(seen))
    # Six digits are far finer than an engine's rounding, and keep the manifest small.
    weights = [float(f"{weight:.6g}") for weight in model.coef_[0] * scale / scaler.scale_]
    scores = predictors(features, _statistics(held_out)) @ np.array(weights)
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


def _statistics(images: Pixels) -> Features:
    """Image statistics of uint8 (N, S, S), float32 (N, L)."""
    return np.stack([image_statistics(image) for image in images])


def _vary(image: Pixels, index: int) -> Pixels:
    """Vary shape, sharpness, grey levels and noise, as between X-ray units."""
    rng = np.random.default_rng([_SEED, index])
    size = len(image)
    linear = np.diag(np.exp(rng.normal(0, 0.15, 2))) + rng.normal(0, 0.1, (2, 2)) * (1 - np.eye(2))
    centre = np.full(2, (size - 1) / 2)
    matrix = np.column_stack([linear, centre - linear @ centre])
    values = image
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
        varied = as_jpeg(varied, int(rng.integers(20, 85)))
    if rng.uniform() < 0.5:
        varied = cv2.createCLAHE(2.0, (8, 8)).apply(varied)  # type: ignore[assignment]
    return varied
