"""Where names stand beside the points of a plot, so that all of them can be read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_GAPS = (2, 14, 28, 44, 62, 82, 104)  # between a point and its name
_ANGLES = np.deg2rad([20, 160, -20, -160, 55, 125, -55, -125, 90, -90])
# Costs of what a name covers, per unit of area, and of a unit of distance. A name over another one
# cannot be read, over the edge it is cut off; a bar is thin and shows on both sides of a name.
_NAME, _OUTSIDE, _POINT, _BAR, _DISTANCE = 1e6, 1e6, 4.0, 1.0, 3.0


def place_names(centres: Array, radii: Array, sizes: Array, bars: Array, frame: Array) -> Array:
    """Place one name after another where it covers the least, near its point if it can be.

    Args:
        centres: (N, 2) middles of the points; like all here in one unit of length.
        radii: (N,) of the points.
        sizes: (N, 2) widths and heights of the names.
        bars: (B, 4) boxes (left, bottom, right, top) that a name should not cover, such as
            intervals.
        frame: (4,) box that holds the plot.

    Returns:
        (N, 4) boxes of the names.
    """
    points = np.hstack([centres - radii[:, None], centres + radii[:, None]])
    gaps, angles = (grid.ravel() for grid in np.meshgrid(_GAPS, _ANGLES, indexing="ij"))
    towards = np.stack([np.cos(angles), np.sin(angles)], 1)
    placed = np.empty((0, 4))
    for centre, radius, size in zip(centres, radii, sizes, strict=True):
        # A name reaches from its point outwards, so its middle is half its size further off.
        middles = centre + towards * (radius + gaps + size.min() / 2)[:, None]
        middles[:, 0] += np.round(towards[:, 0], 1) * (size[0] - size[1]) / 2
        boxes = np.hstack([middles - size / 2, middles + size / 2])
        cost = (
            _NAME * _covered(boxes, placed)
            + _OUTSIDE * (size.prod() - _covered(boxes, frame[None]))
            + _POINT * _covered(boxes, points)
            + _BAR * _covered(boxes, bars)
            + _DISTANCE * gaps
        )
        placed = np.vstack([placed, boxes[cost.argmin()]])
    return placed


def _covered(boxes: Array, others: Array) -> Array:
    """(M,) area that each of (M, 4) boxes shares with (K, 4) others, summed."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Array = np.clip(high - low, 0, None).prod(2).sum(1)
    return shared
