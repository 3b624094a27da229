"""Crops: around lesions for a first stage of training, and parts with or without a lesion.

And the boxes of a lesion as such a view shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.training.data.augment import Matrix

Pixels = npt.NDArray[np.uint8]

GRID = 64
"""Cells a side of drawn boxes."""
_FRACTION = 4  # bits of a coordinate below one cell
_JITTER = 0.2  # of the crop's side: the lesion is not always in the middle
_TRIES = 4
_PART = (0.32, 0.75)  # of the image's side
_PART_TRIES = 12
_WITH_LESION = 0.6  # of the parts of an image that has one
_SHIFT = 0.15  # of the part's side, as a standard deviation
_WHOLE, _NOTHING = 0.6, 0.02  # share of a lesion's box: a part between them says neither
_FLATTEST = 0.5  # of the deviation of the whole image: a part of mere background teaches nothing


def place_crop(
    image: Pixels, boxes: Sequence[Box], side: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Choose the left and top pixel of a crop.

    Around a random lesion if there is one; else the position with the most contrast among four
    random ones, so that crops without a lesion show bone too.

    Args:
        image: uint8 (S, S).
        boxes: lesions as fractions of the input.
        side: of the crop, in pixels, at most S.
        rng: draws the position.
    """
    room = image.shape[0] - side
    if boxes:
        x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
        middle = np.array([x0 + x1, y0 + y1]) / 2 * image.shape[0]
        corner = middle - side / 2 + rng.uniform(-_JITTER, _JITTER, 2) * side
        x, y = np.clip(corner, 0, room).astype(int)
        return int(x), int(y)
    corners = rng.integers(0, room + 1, (_TRIES, 2))
    contrast = [float(image[y : y + side : 4, x : x + side : 4].std()) for x, y in corners]
    x, y = corners[int(np.argmax(contrast))]
    return int(x), int(y)


def boxes_in_crop(
    boxes: Sequence[Box], corner: tuple[int, int], side: int, size: int
) -> tuple[Box, ...]:
    """Map boxes to fractions of a crop, clipped to it; boxes outside are dropped."""
    mapped = []
    for box in boxes:
        x0, y0, x1, y1 = np.clip((np.array(box) * size - (*corner, *corner)) / side, 0, 1).tolist()
        if x0 < x1 and y0 < y1:
            mapped.append((x0, y0, x1, y1))
    return tuple(mapped)


class Part(NamedTuple):
    """A square part of an image."""

    x: int
    y: int
    side: int
    lesion: bool
    """Whether a lesion of the image is in it."""


def place_part(
    image: Pixels, boxes: Sequence[Box], without: bool, rng: np.random.Generator
) -> Part | None:
    """Choose a square part of an image that either shows a lesion or none of it.

    Args:
        image: uint8 (R, R).
        boxes: lesions as fractions of it.
        without: whether a part without the lesion may be chosen where there is one.
        rng: draws side and position.

    Returns:
        The part; None where no drawn one shows bone, and a lesion wholly enough or not at all.
    """
    size, deviation = len(image), float(image[::4, ::4].std())
    wanted = bool(boxes) and (not without or rng.random() < _WITH_LESION)
    for _ in range(_PART_TRIES):
        side = int(size * rng.uniform(*_PART))
        if wanted:
            x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
            middle = np.array([x0 + x1, y0 + y1]) / 2 * size + rng.normal(0, _SHIFT * side, 2)
        else:
            middle = rng.uniform(0, size, 2)
        x, y = (int(v) for v in np.clip(middle - side / 2, 0, size - side))
        shown = max((_share(box, (x, y), side, size) for box in boxes), default=0.0)
        fits = shown >= _WHOLE if wanted else shown <= _NOTHING
        if fits and image[y : y + side : 4, x : x + side : 4].std() >= _FLATTEST * deviation:
            return Part(x, y, side, wanted)
    return None


def _share(box: Box, corner: tuple[int, int], side: int, size: int) -> float:
    """Share of a box's area that lies in a crop."""
    low, high = np.array(box[:2]) * size, np.array(box[2:]) * size
    inside = np.minimum(high, np.add(corner, side)) - np.maximum(low, corner)
    return float(np.clip(inside, 0, None).prod() / max((high - low).prod(), 1e-9))


def draw_boxes(boxes: Sequence[Box], stored: int, matrix: Matrix, size: int) -> Pixels:
    """Draw boxes as a view of their image shows them.

    Args:
        boxes: as fractions of the stored image.
        stored: its side.
        matrix: from its pixels (x, y, 1) to those of the view, float64 (2, 3).
        size: side of the view.

    Returns:
        uint8 (64, 64), 1 inside.
    """
    drawn: Pixels = np.zeros((GRID, GRID), np.uint8)
    for x0, y0, x1, y1 in boxes:
        corners = np.array([(x0, y0, 1), (x1, y0, 1), (x1, y1, 1), (x0, y1, 1)])
        corners *= (stored, stored, 1)
        points = (corners @ matrix.T) * GRID / size
        fixed = np.clip(np.rint(points * 2**_FRACTION), -(2**20), 2**20).astype(np.int32)
        cv2.fillConvexPoly(drawn, fixed, 1, shift=_FRACTION)  # type: ignore[call-overload]
    return drawn
