"""Contour, longest diameter and area of each region of a lesion mask.

The longest diameter is that of RECIST (Eisenhauer et al., Eur. J. Cancer 45, 228-247, 2009): the
largest distance between two points of the region's border. Nothing is said about severity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.image_io.radiograph import Plane
from orthoedge.runtime.preprocess import LetterboxTransform

THRESHOLD = 0.5
"""Probability from which a place belongs to a region."""
_FINE = 8  # steps of the grid per cell of the mask, on which borders are traced
_TOLERANCE = 0.8  # of a step, of the contour's polygon

Point = tuple[float, float]
"""x and y in pixels of the radiograph; 0 is the centre of the first pixel."""


@dataclass(frozen=True)
class Lesion:
    """One connected region that the network outlines."""

    contour: tuple[Point, ...]
    """Its outer border, closed, without the first point repeated."""
    probability: float
    """The highest in the region."""
    diameter_px: float
    """Longest diameter in pixels of the radiograph."""
    diameter_ends: tuple[Point, Point]
    """Between which it is measured: in millimetres where there are any, else in pixels."""
    area_px: float
    """Area in pixels of the radiograph."""
    diameter_mm: float | None
    """Longest diameter in millimetres in `plane`; None where the file states no spacing."""
    area_mm2: float | None
    """Area in square millimetres in `plane`."""
    plane: Plane | None
    """Where the millimetres are true; None where that cannot be determined."""


def measure_lesions(
    mask: npt.NDArray[np.float32],
    placement: LetterboxTransform,
    input_size: int,
    spacing_mm: tuple[float, float] | None,
    plane: Plane | None,
) -> tuple[Lesion, ...]:
    """Measure the regions of a mask, the largest first.

    Between cells the probability is interpolated. What lies in the padding of the model input is
    left out.

    Args:
        mask: float32 (h', w'), 0 to 1, over the whole model input.
        placement: position of the model input on the radiograph.
        input_size: side S of the model input, in pixels.
        spacing_mm: millimetres between rows and between columns of the radiograph; None: unknown.
        plane: where it was measured.
    """
    high = mask >= THRESHOLD
    if not high.any():
        return ()
    # A place between four cells is as high as one of them at most, so the others are left out.
    (top, bottom), (left, right) = (_range(np.any(high, axis)) for axis in (1, 0))
    part = mask[top:bottom, left:right]
    shape = (part.shape[1] * _FINE, part.shape[0] * _FINE)
    fine = cv2.resize(part, shape, interpolation=cv2.INTER_LINEAR)
    grid = _Grid((mask.shape[1], mask.shape[0]), (left, top), placement, input_size)
    inside = (fine >= THRESHOLD).astype(np.uint8)
    grid.blank_padding(inside)
    count, regions, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    lesions = []
    for number in range(1, count):
        x, y, width, height, cells = (int(value) for value in statistics[number])
        box = np.s_[y : y + height, x : x + width]
        own = (regions[box] == number).astype(np.uint8)
        border, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        peak = float(fine[box][own > 0].max())
        lesions.append(_lesion(border[0], cells, min(peak, 1.0), grid, spacing_mm, plane))
    return tuple(sorted(lesions, key=lambda lesion: -lesion.area_px))


@dataclass(frozen=True)
class _Grid:
    """Steps of the grid over a part of the mask, and pixels of the radiograph."""

    cells: tuple[int, int]
    """Columns and rows of the mask."""
    first: tuple[int, int]
    """Column and row of the mask at which the part begins."""
    placement: LetterboxTransform
    input_size: int

    @property
    def zoom(self) -> npt.NDArray[np.float64]:
        """Pixels of the radiograph per step across and down."""
        fx0, fy0, fx1, fy1 = self.placement.field
        cx0, cy0, cx1, cy1 = self.placement.content
        of_input = np.array([(fx1 - fx0) / (cx1 - cx0), (fy1 - fy0) / (cy1 - cy0)])
        return np.asarray(of_input * self.input_size / np.array(self.cells) / _FINE)

    def on_radiograph(self, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Pixels of the radiograph of points (P, 2) of the grid, x and y."""
        from_corner = points + 0.5 - self._content()[:2]
        return np.asarray(from_corner * self.zoom - 0.5 + np.array(self.placement.field[:2]))

    def blank_padding(self, inside: npt.NDArray[np.uint8]) -> None:
        """Take what lies in the padding of the model input out of a part, (rows, columns)."""
        x0, y0, x1, y1 = np.maximum(0, np.rint(self._content())).astype(int)
        inside[:y0] = inside[y1:] = 0
        inside[:, :x0] = inside[:, x1:] = 0

    def _content(self) -> npt.NDArray[np.float64]:
        """x0, y0, x1, y1 of the radiograph's field, in steps from the corner of the part."""
        steps = np.array(self.placement.content) * np.tile(self.cells, 2) / self.input_size * _FINE
        return np.asarray(steps - np.tile(self.first, 2) * _FINE)


def _lesion(
    border: npt.NDArray[Any],
    cells: int,
    peak: float,
    grid: _Grid,
    spacing_mm: tuple[float, float] | None,
    plane: Plane | None,
) -> Lesion:
    hull = grid.on_radiograph(cv2.convexHull(border)[:, 0])
    unit = np.ones(2) if spacing_mm is None else np.array(spacing_mm[::-1])
    first, second, longest = _farthest(hull, unit)
    # The border runs through centres of steps, so half a step is missing at either end.
    beyond = float(np.mean(grid.zoom * unit))
    in_pixels = _farthest(hull, np.ones(2))[2] + float(np.mean(grid.zoom))
    area = cells * float(np.prod(grid.zoom))
    outline = cv2.approxPolyDP(border, _TOLERANCE, closed=True)[:, 0]
    return Lesion(
        contour=tuple(_point(point) for point in grid.on_radiograph(outline)),
        probability=round(peak, 4),
        diameter_px=round(in_pixels, 1),
        diameter_ends=(_point(first), _point(second)),
        area_px=round(area, 1),
        diameter_mm=None if spacing_mm is None else round(longest + beyond, 2),
        area_mm2=None if spacing_mm is None else round(area * float(np.prod(unit)), 2),
        plane=None if spacing_mm is None else plane,
    )


def _farthest(
    points: npt.NDArray[np.float64], unit: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """The two of (P, 2) that are farthest apart, and their distance in multiples of `unit`."""
    apart = np.linalg.norm((points[:, None] - points[None]) * unit, axis=2)
    one, other = np.unravel_index(int(apart.argmax()), apart.shape)
    return points[one], points[other], float(apart[one, other])


def _point(point: npt.NDArray[np.float64]) -> Point:
    return round(float(point[0]), 1), round(float(point[1]), 1)


def _range(high: npt.NDArray[Any]) -> tuple[int, int]:
    """Range from one before the first entry that is set to one after the last, end exclusive."""
    at = np.flatnonzero(high)
    return max(0, int(at[0]) - 1), min(len(high), int(at[-1]) + 2)
