"""What a picture looks like at a glance: a few numbers that tell a radiograph from other pictures.

A network that learned from radiographs alone keeps little of what other pictures are made of: its
pooled features put a page of print among the bones. These numbers are what it has thrown away, and
stand beside the features in the out-of-distribution score (`decision.py`).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preprocess import Pixels, halve

_HALVINGS = 5
_DIRECTED = 4  # levels whose edges are measured by direction
STATISTICS_SIZE = _HALVINGS + 1 + 2 * _DIRECTED + 2 + 6
"""L, how many numbers `image_statistics` returns."""
STATISTICS_TERMS = STATISTICS_SIZE * (STATISTICS_SIZE + 3) // 2
"""T, those numbers and their products."""
_FAR = 4.0  # spreads: beyond, how far says nothing any more, and squares would drown the rest
_ROWS, _COLUMNS = np.triu_indices(STATISTICS_SIZE)
_ROUNDING = 0.5  # grey levels: below this a difference is that of uint8, and its log means nothing


def image_statistics(square: Pixels) -> npt.NDArray[np.float32]:
    """Describe the network's input, uint8 (S, S) with S of 32 or more, in float32 (L,).

    The energy of the details of each size, as the variance that each halving takes away (a Haar
    pyramid; Mallat, IEEE PAMI 11, 1989); how strong and how much along one axis edges are; how much
    rows and columns differ as a whole; brightness of the borders, the middle and all. Everything is
    counted in integers on uint8 and only the results are floats.
    """
    levels = [square]
    for _ in range(_HALVINGS):
        levels.append(halve(levels[-1]))
    mean, deviation = cv2.meanStdDev(square)
    spread = [deviation.item() ** 2, *map(_variance, levels[1:])]
    kept = [*spread[1:], 0.0]
    found = [math.log(max(a - b, 0) + _ROUNDING) for a, b in zip(spread, kept, strict=True)]
    for level in levels[:_DIRECTED]:
        across = cv2.norm(level[:, 1:], level[:, :-1], cv2.NORM_L1) / level.size + 0.1
        down = cv2.norm(level[1:], level[:-1], cv2.NORM_L1) / level.size + 0.1
        found += [math.log(across + down), math.log(min(across, down) / max(across, down))]
    whole = math.log(spread[0] + 1)
    for axis in (0, 1):
        profile = cv2.reduce(levels[1], axis, cv2.REDUCE_AVG)
        found.append(math.log(_variance(profile) + _ROUNDING) - whole)
    rows = levels[-1].tolist()  # few numbers, and Python adds them up sooner
    third = len(rows) // 3
    inner = slice(third, len(rows) - third)
    middle = [value for row in rows[inner] for value in row[inner]]
    sides = (rows[0], rows[-1], [row[0] for row in rows], [row[-1] for row in rows])
    found += [sum(part) / len(part) / 255 for part in (*sides, middle)]
    return np.array([*found, mean.item() / 255], np.float32)


def statistics_terms(
    looks: npt.NDArray[np.float32], centre: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Looks (..., L) in spreads (L,) from their centre (L,), and all products of two: (..., T)."""
    found = ((looks - centre) / spread).clip(-_FAR, _FAR)
    return np.concatenate([found, found[..., _ROWS] * found[..., _COLUMNS]], axis=-1)


def _variance(pixels: cv2.typing.MatLike) -> float:
    deviation: float = cv2.meanStdDev(pixels)[1].item()
    return deviation**2
