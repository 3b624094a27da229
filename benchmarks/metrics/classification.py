"""Scores of a classifier and of its maps, from plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preprocess import LetterboxTransform

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of the network's input."""
BINS = 15
"""Of confidence."""


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities, float64 (N, C), of logits (N, C)."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True), np.float64)


def log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Logarithms, float64 (N, C), of the probabilities of logits (N, C).

    Not from the probabilities: one that rounds to 0 has no logarithm.
    """
    exact = np.asarray(logits, np.float64)
    return np.asarray(exact - np.logaddexp.reduce(exact, axis=1, keepdims=True), np.float64)


def confusion(truth: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Counts (C, C): row = true class, column = predicted class."""
    table = confusions(truth, predicted, classes, np.ones((1, len(truth))))[0]
    return np.asarray(table, np.int64)


def confusions(
    truth: Ints, predicted: Ints, classes: int, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Confusion matrices (R, C, C) of weightings (R, N): row = true, column = predicted."""
    cells = np.eye(classes * classes)[truth * classes + predicted]  # (N, C²)
    return np.asarray((weights @ cells).reshape(len(weights), classes, classes), np.float64)


def recalls(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Recall (sensitivity) of each class, (C,); NaN for a class with no image."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diag(table) / table.sum(axis=1), np.float64)


def macro_f1(table: npt.NDArray[np.int64]) -> float:
    """Unweighted mean of the classes' F1; see `macro_f1s`."""
    return float(macro_f1s(table[None])[0])


def macro_f1s(tables: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Macro-F1 (R,) of confusion matrices (R, C, C); a class never true nor predicted counts 0."""
    hits = 2.0 * np.diagonal(tables, axis1=1, axis2=2)
    total = tables.sum(1) + tables.sum(2)
    scores = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
    return np.asarray(scores.mean(1), np.float64)


def expected_calibration_error(probabilities: Floats, truth: Ints) -> float:
    """Expected calibration error of probabilities (N, C); see `calibration_errors`."""
    predicted = probabilities.argmax(axis=1)
    return float(calibration_errors(probabilities, predicted, truth, np.ones((1, len(truth))))[0])


def calibration_errors(
    probabilities: Floats, predicted: Ints, truth: Ints, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Expected calibration errors (R,) over bins of confidence (Guo et al., ICML 2017).

    Args:
        probabilities: (N, C).
        predicted: (N,) class indices.
        truth: (N,) class indices.
        weights: (R, N).
    """
    gap = probabilities.max(axis=1) - (predicted == truth)
    cells = np.eye(BINS)[bins_of(probabilities)] * gap[:, None]  # (N, bins)
    return np.asarray(np.abs(weights @ cells).sum(1) / weights.sum(1), np.float64)


def bins_of(probabilities: Floats) -> npt.NDArray[np.int64]:
    """The bin (N,) of each image's confidence, of `BINS` bins of equal width."""
    bins = (probabilities.max(axis=1) * BINS).astype(np.int64)
    return np.asarray(np.minimum(bins, BINS - 1), np.int64)


def points_at(saliency: Floats, boxes: Sequence[Box], reach: float | None = None) -> bool:
    """Pointing game (Zhang et al., IJCV 2018): does the map's highest cell touch a box?

    Args:
        saliency: (h, w), one class. A map that is zero everywhere points nowhere.
        boxes: lesion boxes as fractions of the area that the map covers.
        reach: side of the square around the middle of that cell which must touch a box, as a
            fraction of the area; None: the cell itself.

    The cell (32 px of 224 for a stride-32 backbone) takes the place of the game's usual 15 px of
    tolerance: a peak can be no more precise than its cell. Maps of several sizes are compared with
    one reach, since a finer map would have to point more precisely otherwise.
    """
    if not saliency.max() > 0:
        return False
    height, width = saliency.shape
    row, column = np.unravel_index(int(saliency.argmax()), saliency.shape)
    across, down = (1.0, 1.0) if reach is None else (reach * width, reach * height)  # in cells
    left, top = column + (1 - across) / 2, row + (1 - down) / 2
    return any(
        x0 * width < left + across
        and x1 * width > left
        and y0 * height < top + down
        and y1 * height > top
        for x0, y0, x1, y1 in boxes
    )


def near_box(point: Sequence[float], boxes: Sequence[Box], reach: float) -> bool:
    """Whether a square around a point touches a box.

    Args:
        point: x and y as fractions of an area.
        boxes: as fractions of the same area.
        reach: side of the square, as a fraction of it.
    """
    x, y, half = point[0], point[1], reach / 2
    return any(
        x0 < x + half and x1 > x - half and y0 < y + half and y1 > y - half
        for x0, y0, x1, y1 in boxes
    )


def boxes_in_input(
    boxes: Sequence[Box], shape: Sequence[int], placement: LetterboxTransform, size: int
) -> tuple[Box, ...]:
    """Map boxes from fractions of the radiograph (H, W) to fractions of the network's input.

    They are clipped to the field; a box that lies outside of it is dropped.
    """
    height, width = shape
    fx0, fy0, fx1, fy1 = placement.field
    cx0, cy0, cx1, cy1 = placement.content
    mapped = []
    for x0, y0, x1, y1 in boxes:
        x = np.clip([x0 * width, x1 * width], fx0, fx1)
        y = np.clip([y0 * height, y1 * height], fy0, fy1)
        if x[0] < x[1] and y[0] < y[1]:
            x = (cx0 + (x - fx0) * (cx1 - cx0) / (fx1 - fx0)) / size
            y = (cy0 + (y - fy0) * (cy1 - cy0) / (fy1 - fy0)) / size
            mapped.append((float(x[0]), float(y[0]), float(x[1]), float(y[1])))
    return tuple(mapped)


def cosine(first: Floats, second: Floats) -> npt.NDArray[np.float64]:
    """Cosine of each pair of maps, (N, h, w) and (N, h, w) -> (N,); 0 where one map is zero."""
    a = np.asarray(first, np.float64).reshape(len(first), -1)
    b = np.asarray(second, np.float64).reshape(len(second), -1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: npt.NDArray[np.float64] = np.zeros(len(a))
    np.divide((a * b).sum(axis=1), norms, out=result, where=norms > 0)
    return result
