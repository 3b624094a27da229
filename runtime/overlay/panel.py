"""A radiograph under its map, without a caption."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from orthoedge.runtime.lesions.measure import Point
from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.overlay.caption import line_width
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels

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
