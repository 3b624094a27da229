"""Crops around lesions, for a first stage of training from random weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box

Pixels = npt.NDArray[np.uint8]

_JITTER = 0.2  # of the crop's side: the lesion is not always in the middle
_TRIES = 4


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
