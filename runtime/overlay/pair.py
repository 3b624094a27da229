"""The plain radiograph and the same under its map, as large as their caption leaves room for."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from orthoedge.runtime.finding import Finding
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.overlay.caption import BACKGROUND
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.overlay.layout import CaptionSize, Layout, fit_layout
from orthoedge.runtime.overlay.panel import contours_of, draw_panel

GAP = 0.5  # between both, in x-heights
_WIDTH = 1920  # pixels of the screen
_ACROSS = 0.95  # panels side by side are easier to compare, even if slightly smaller


@dataclass(frozen=True)
class Pair:
    """Both panels, without their caption."""

    panels: Picture
    """uint8 (H, W, 3), BGR."""
    layout: Layout
    """Where the caption belongs."""
    unit: float
    """The x-height of the caption, in pixels."""
    scale: float
    """Pixels of a panel per pixel of the radiograph."""


def draw_pair(
    radiograph: Radiograph,
    finding: Finding,
    heat: Heat | None,
    caption: CaptionSize,
    screen: tuple[float, float],
) -> Pair:
    """Draw both, next to each other, or one above the other where they are larger that way.

    Args:
        radiograph: as read.
        finding: its finding.
        heat: from `checked_heat`.
        caption: how much room it needs.
        screen: width and height of the screen that it is for, in x-heights.
    """
    rows, columns = radiograph.pixels.shape
    across = fit_layout(2 * columns, rows, caption, (screen[0] - GAP, screen[1]))
    down = fit_layout(columns, 2 * rows, caption, (screen[0], screen[1] - GAP))
    layout = across if across.zoom >= _ACROSS * down.zoom else down
    unit = _WIDTH / screen[0]
    scale = layout.zoom * unit
    shape = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(radiograph.pixels, shape, interpolation=interpolation).astype(np.uint8)
    plain: Picture = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    marked = draw_panel(shown, heat, finding.placement, scale, unit, contours_of(finding))
    gap = round(GAP * unit)
    shape = (gap, shape[0]) if layout is down else (shape[1], gap)
    between = np.full((*shape, 3), BACKGROUND, np.uint8)
    panels: Picture = np.concatenate([plain, between, marked], axis=0 if layout is down else 1)
    return Pair(panels, layout, unit, scale)
