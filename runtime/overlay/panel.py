"""A radiograph under its map, without a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.finding import Finding
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.lesions.measure import Point
from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.overlay.caption import line_width
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels

LegendNote = Literal["empty", "half", "outside", "margin"]

_FIELD_BORDER = (150, 150, 150)


def draw_panel(
    shown: Pixels,
    heat: Heat | None,
    placement: LetterboxTransform,
    scale: float,
    unit: float,
    contours: Sequence[Sequence[Point]] = (),
) -> Picture:
    """Draw a radiograph with its map and the outlines of lesions, or crossed out.

    Args:
        shown: uint8 (H, W), already `scale` times its size.
        heat: from `map_over_field`; None for a rejected radiograph.
        placement: position of the model input on the radiograph.
        scale: pixels of `shown` per pixel of the radiograph.
        unit: the x-height that decides the width of lines, in pixels of `shown`.
        contours: of the regions that the network outlines, drawn as dashed lines.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    width = line_width(unit)
    if heat is None:
        return colormap.rejected_panel(shown, 2 * width)
    rows, columns = shown.shape
    x0, y0, x1, y1 = (
        min(max(0, round(edge * scale)), limit)
        for edge, limit in zip(placement.field, (columns, rows) * 2, strict=True)
    )
    outlines = [(np.array(contour) + 0.5) * scale - 0.5 for contour in contours]
    if (x0, y0, x1, y1) == (0, 0, columns, rows):  # usual; saves a second picture
        panel = colormap.colorize(shown, heat)
        colormap.draw_contour(panel, heat, width)
        colormap.draw_dashes(panel, outlines, width)
        return panel
    panel = colormap.dimmed_panel(shown)
    if x1 > x0 and y1 > y0:
        field = colormap.colorize(shown[y0:y1, x0:x1], heat)
        colormap.draw_contour(field, heat, width)
        panel[y0:y1, x0:x1] = field
        if field.shape != panel.shape:
            cv2.rectangle(panel, (x0, y0), (x1 - 1, y1 - 1), _FIELD_BORDER, width)
    colormap.draw_dashes(panel, outlines, width)
    return panel


def checked_heat(radiograph: Radiograph, finding: Finding) -> Heat | None:
    """Check both arrays, and return the map over the field; None for a rejected radiograph.

    Raises:
        InputError: an array of another shape or type, or a map that is negative or not finite.
    """
    pixels, saliency = radiograph.pixels, finding.saliency_map
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
        )
    if finding.decision == "reject":
        return None
    if saliency.ndim != 2 or saliency.size == 0:
        raise InputError(f"expected a saliency map as float32 (h, w), got {saliency.shape}")
    if not np.isfinite(saliency).all() or saliency.min() < 0:
        raise InputError("saliency map holds negative or non-finite values")
    return colormap.map_over_field(saliency, finding.placement, finding.input_size)


def legend_of(radiograph: Radiograph, finding: Finding, heat: Heat) -> tuple[LegendNote, ...]:
    """Return what has to be said about a map next to it.

    Returns:
        `empty`: no place stood out. Else `half` or `outside`: the line runs at half of the peak, or
        the peak lies outside the radiograph and there is none; and `margin`: the dark margin was
        not looked at.
    """
    if not finding.saliency_map.any():
        return ("empty",)
    rows, columns = radiograph.pixels.shape
    line: LegendNote = "half" if heat.max() >= 0.5 else "outside"
    is_whole = finding.placement.field == (0, 0, columns, rows)
    return (line,) if is_whole else (line, "margin")


def contours_of(finding: Finding) -> list[tuple[Point, ...]]:
    """Return the outlines of a finding, which `draw_panel` draws."""
    return [lesion.contour for lesion in finding.lesions or ()]
