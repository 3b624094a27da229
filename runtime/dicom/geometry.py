"""Geometry of a DICOM radiograph: the spacing with its plane, and square pixels.

Sources: DICOM PS3.3 10.7.1 (pixel spacing and its calibration), C.7.6.3.1.7 (pixel aspect ratio),
C.8.11.4 (imager pixel spacing, magnification).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.elements import Elements
from orthoedge.runtime.image_io.radiograph import Plane

_T = TypeVar("_T", np.uint8, np.uint16)
_FINEST, _COARSEST = 0.001, 100.0  # mm; film digitizers reach 0.02, previews 10
_LONGEST = 4.0  # times as long as wide; no detector has pixels longer than that
_SQUARE = 1.01  # less than 1 % is a digit that was rounded, and no one sees it
_MAGNIFIED = 10.0  # times; beyond it the number is not a magnification
_SAME = 1e-3  # decimal strings of one spacing may be rounded differently


@dataclass(frozen=True)
class Spacing:
    """Distance between pixels, and where it was measured."""

    mm: tuple[float, float] | None
    """Between rows and between columns; None where not stated."""
    plane: Plane | None
    """None where it cannot be determined."""


def read_spacing(elements: Elements) -> Spacing:
    """Read the spacing of the file and name its plane (PS3.3 10.7.1.1).

    Pixel Spacing that was calibrated, or that differs from the spacing at the detector, is in the
    patient. So is the spacing at the detector over the magnification, where the file states it.
    Pixel Spacing alone may have been corrected or not, which cannot be determined.
    """
    pixel = _spacing(elements, "PixelSpacing")
    calibration = elements.code("PixelSpacingCalibrationType", ("GEOMETRY", "FIDUCIAL"))
    imager = _spacing(elements, "ImagerPixelSpacing")
    film = _spacing(elements, "NominalScannedPixelSpacing")  # digitized; it was at the detector
    magnification = elements.number(
        "EstimatedRadiographicMagnificationFactor", lambda value: 1 <= value <= _MAGNIFIED
    )
    receptor = imager or film
    if pixel and (calibration or (receptor and not _are_same(pixel, receptor))):
        return Spacing(pixel, "patient")
    if receptor and magnification:
        elements.note("spacing at the patient estimated by the magnification in the file")
        return Spacing((receptor[0] / magnification, receptor[1] / magnification), "patient")
    if receptor:
        return Spacing(receptor, "detector")
    return Spacing(pixel, None)


def pixel_aspect(elements: Elements, spacing: Spacing) -> float:
    """Return height over width of a pixel; exactly 1 where it is square to 1 %."""
    stated = elements.numbers("PixelAspectRatio", 2, lambda value: value >= 1)
    if stated and not _is_plausible(stated[0] / stated[1]):
        elements.leave_out("PixelAspectRatio", "not a possible value")
        stated = None
    height, width = spacing.mm or stated or (1, 1)
    aspect = height / width
    if spacing.mm and stated and not math.isclose(aspect, stated[0] / stated[1], rel_tol=0.01):
        elements.leave_out("PixelAspectRatio", "the spacing in mm contradicts it")
    return 1.0 if 1 / _SQUARE <= aspect <= _SQUARE else aspect


def square_shape(rows: int, columns: int, aspect: float, max_pixels: int) -> tuple[int, int]:
    """Return the shape of an image once its pixels are square.

    The coarser axis is enlarged; where that gives over `max_pixels`, the finer one is reduced.
    """
    shapes = ((rows * aspect, columns), (rows, columns / aspect))
    large, small = shapes if aspect > 1 else shapes[::-1]
    height, width = (max(1, round(side)) for side in large)
    if height * width > max_pixels:
        height, width = (max(1, round(side)) for side in small)
    return height, width


def resample(pixels: npt.NDArray[_T], shape: tuple[int, int]) -> npt.NDArray[_T]:
    """Resample (H, W) to `shape`: linear where larger, averaged where smaller.

    Args:
        pixels: uint8 or uint16.
        shape: rows and columns.

    Returns:
        The same dtype.
    """
    smaller = shape[0] < pixels.shape[0] or shape[1] < pixels.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(pixels, shape[::-1], interpolation=interpolation).astype(
        pixels.dtype, copy=False
    )


def resampled_spacing(spacing: Spacing, rows: int, shape: tuple[int, int]) -> Spacing:
    """Return the spacing of an image of `rows` once it was resampled to squares of `shape`."""
    if spacing.mm is None:
        return spacing
    # That of the axis which kept its size, and so its spacing.
    side = spacing.mm[0] if shape[0] == rows else spacing.mm[1]
    return replace(spacing, mm=(side, side))


def _spacing(elements: Elements, keyword: str) -> tuple[float, float] | None:
    values = elements.numbers(keyword, 2, lambda value: _FINEST <= value <= _COARSEST)
    if values is None:
        return None
    rows, columns = values
    if not _is_plausible(rows / columns):
        elements.leave_out(keyword, "not a possible value")
        return None
    return rows, columns


def _is_plausible(aspect: float) -> bool:
    return 1 / _LONGEST <= aspect <= _LONGEST


def _are_same(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=_SAME) for a, b in zip(first, second, strict=True))
