"""Fit the score that tells training images from pictures of other kinds."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Engine
from orthoedge.runtime.grey import Pixels
from orthoedge.runtime.look import LOOK_SIZE, look
from orthoedge.runtime.manifest import OutOfDistribution
from orthoedge.targets.batches import run_all

_REFER, _REJECT = 0.98, 0.995  # quantiles of calibration images that stay below
_SEED = 0

Numbers = npt.NDArray[np.float64]


def fit_outlier_score(
    engine: Engine, seen: Pixels, outliers: Pixels, held_out: Numbers
) -> OutOfDistribution:
    """Logistic regression on features and look (outlier exposure; Hendrycks et al., ICLR 2019).

    Training images are learned as they are and once more as other units would have taken them:
    otherwise the score learns the noise and the sharpness of one source in place of bones.

    Args:
        engine: on the very file that will run.
        seen: uint8 (M, S, S) training images, preprocessed.
        outliers: uint8 (O, S, S) pictures of other kinds, preprocessed.
        held_out: (N, K + L) `describe` of calibration images, which set the thresholds.

    Returns:
        Weights scaled so that the median of the calibration images scores 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    varied = np.stack([_vary(square, k) for k, square in enumerate(seen)])
    squares = np.concatenate([seen, varied, outliers])
    found = describe(run_all(engine, squares[:, None]).feature_vector, squares)
    scaler = StandardScaler().fit(found)
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced")
    model.fit(scaler.transform(found), np.arange(len(squares)) >= 2 * len(seen))
    # Six digits are far below what an engine's rounding moves, and keep the manifest small.
    weights = [float(f"{weight:.6g}") for weight in model.coef_[0] / scaler.scale_]
    scores = held_out @ np.array(weights)
    middle, refer, reject = np.quantile(scores, (0.5, _REFER, _REJECT))
    threshold = max(float(refer - middle), 1e-6)
    features = found.shape[1] - LOOK_SIZE
    return OutOfDistribution(
        features=tuple(weights[:features]),
        look=tuple(weights[features:]),
        offset=-float(middle),
        threshold=threshold,
        reject=max(1.0, float(reject - middle) / threshold),
    )


def describe(features: npt.NDArray[np.float32], squares: Pixels) -> Numbers:
    """(N, K + L): features (N, K) and the look of uint8 (N, S, S)."""
    looks = np.stack([look(square) for square in squares])
    return np.concatenate([features, looks], axis=1).astype(np.float64)


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
