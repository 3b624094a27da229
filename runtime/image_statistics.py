"""Image statistics of the model input, which distinguish radiographs from other images.

A network trained on radiographs alone discards what is typical of other images: by its pooled
features a page of print is close to bones. These statistics complement the features in the
out-of-distribution score (`decision.py`).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preprocess import Pixels, halve

_HALVINGS = 5
_DIRECTED = 4  # levels with statistics of edge direction
STATISTICS_SIZE = _HALVINGS + 1 + 2 * _DIRECTED + 2 + 6
"""L, number of image statistics."""
STATISTICS_TERMS = STATISTICS_SIZE * (STATISTICS_SIZE + 3) // 2
"""T, number of the statistics and their products of two."""
_FAR = 4.0  # standard deviations; beyond it, squares would dominate the score
_ROWS, _COLUMNS = np.triu_indices(STATISTICS_SIZE)
_ROUNDING = 0.5  # grey levels; the log of a smaller difference is only rounding to uint8


def image_statistics(model_input: Pixels) -> npt.NDArray[np.float32]:
    """Compute float32 (L,) statistics of the model input, uint8 (S, S) with S of 32 or more.

    Energy of the details of each size, as the variance lost by each halving (a Haar pyramid;
    Mallat, IEEE PAMI 11, 1989); strength and direction of edges; variation between whole rows and
    between whole columns; brightness of the borders, the middle and the whole. All sums are of
    integers on uint8; only the results are floats.
    """
    levels = [model_input]
    for _ in range(_HALVINGS):
        levels.append(halve(levels[-1]))
    mean, deviation = cv2.meanStdDev(model_input)
    variances = [deviation.item() ** 2, *map(_variance, levels[1:])]
    details = (max(a - b, 0) for a, b in zip(variances, [*variances[1:], 0.0], strict=True))
    statistics = [math.log(detail + _ROUNDING) for detail in details]
    for level in levels[:_DIRECTED]:
        across = cv2.norm(level[:, 1:], level[:, :-1], cv2.NORM_L1) / level.size + 0.1
        down = cv2.norm(level[1:], level[:-1], cv2.NORM_L1) / level.size + 0.1
        statistics += [math.log(across + down), math.log(min(across, down) / max(across, down))]
    whole = math.log(variances[0] + 1)
    for axis in (0, 1):
        profile = cv2.reduce(levels[1], axis, cv2.REDUCE_AVG)
        statistics.append(math.log(_variance(profile) + _ROUNDING) - whole)
    rows = levels[-1].tolist()  # few numbers, for which Python is faster
    third = len(rows) // 3
    inner = slice(third, len(rows) - third)
    middle = [value for row in rows[inner] for value in row[inner]]
    sides = (rows[0], rows[-1], [row[0] for row in rows], [row[-1] for row in rows])
    statistics += [sum(area) / len(area) / 255 for area in (*sides, middle)]
    return np.array([*statistics, mean.item() / 255], np.float32)


def statistics_terms(
    statistics: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Standardize statistics (..., L) by mean and std (L,), and add products of two: (..., T)."""
    scaled = ((statistics - mean) / std).clip(-_FAR, _FAR)
    return np.concatenate([scaled, scaled[..., _ROWS] * scaled[..., _COLUMNS]], axis=-1)


def _variance(pixels: cv2.typing.MatLike) -> float:
    deviation: float = cv2.meanStdDev(pixels)[1].item()
    return deviation**2
