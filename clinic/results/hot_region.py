"""The map of a finding in pixels of the source image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.overlay.colormap import Heat, map_over_field, trace_contour
from orthoedge.runtime.preprocess import Pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer

_BAND = 128  # rows that are spread at a time


def map_over_image(header: Dataset, answer: Answer, peak: int) -> Pixels | None:
    """Spread the map over the source image.

    Args:
        header: from `usable_header`.
        answer: finding and radiograph.
        peak: value at the peak of the map, at most 255.

    Returns:
        uint8 (Rows, Columns), 0 outside the collimated field; None for a rejected image, or where
        the map is 0 all over the image.
    """
    heat = _heat(answer)
    if heat is None:
        return None
    x0, y0, x1, y1 = answer.finding.placement.field
    whole: Pixels = np.zeros(answer.radiograph.pixels.shape, np.uint8)
    _spread(heat, whole[y0:y1, x0:x1], peak)
    shape = (int(header.Rows), int(header.Columns))
    if whole.shape != shape:  # the reader has resampled pixels that are not square
        resized = cv2.resize(whole, shape[::-1], interpolation=cv2.INTER_LINEAR)
        whole = resized.astype(np.uint8, copy=False)
    return whole if whole.any() else None


def _spread(heat: Heat, field: Pixels, peak: int) -> None:
    """Fill a field with the map, as `cv2.resize` does it, without floats for all of its pixels."""
    rows, columns = field.shape
    wide = cv2.resize(heat, (columns, len(heat)), interpolation=cv2.INTER_LINEAR)
    for start in range(0, rows, _BAND):
        y = (np.arange(start, min(start + _BAND, rows)) + 0.5) * (len(heat) / rows) - 0.5
        y = np.clip(y, 0, len(heat) - 1).astype(np.float32)
        above = y.astype(np.intp)
        below = np.minimum(above + 1, len(heat) - 1)
        share = (y - above)[:, None].astype(np.float32)
        band = wide[above] * (1 - share) + wide[below] * share
        field[start : start + _BAND] = cv2.convertScaleAbs(band, alpha=peak)  # this rounds


def contours_on_image(header: Dataset, answer: Answer) -> list[npt.NDArray[np.float64]]:
    """Trace the contour of the map at half of its peak, the line that the picture shows.

    Returns:
        Lines whose last point is their first, each float64 (P, 2), P at least 4: column and row in
        pixels of the source image, 0 for the outer edge of the first one and `Columns` or `Rows`
        for that of the last (PS3.3 C.10.5.1.2). An empty list for a rejected image, or where the
        peak lies outside the image.
    """
    heat = _heat(answer)
    if heat is None:
        return []
    x0, y0, x1, y1 = answer.finding.placement.field
    rows, columns = answer.radiograph.pixels.shape
    zoom = np.array([int(header.Columns) / columns, int(header.Rows) / rows])
    size = np.array([int(header.Columns), int(header.Rows)])
    corner = np.array([x0 + 0.5, y0 + 0.5])
    lines = []
    for line in trace_contour(heat, y1 - y0, x1 - x0):
        points = np.clip((line.reshape(-1, 2) + corner) * zoom, 0, size)
        if len(points) >= 3:
            lines.append(np.vstack([points, points[:1]]))
    return lines


def _heat(answer: Answer) -> Heat | None:
    """Return the map over the collimated field; None for a rejected image, which shows none."""
    finding = answer.finding
    if finding.decision == "reject":
        return None
    return map_over_field(finding.saliency_map, finding.placement, finding.input_size)
