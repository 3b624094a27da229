"""Position and size of the caption next to a radiograph.

The text is sized for the 7-inch screen of a portable unit, on which the picture is scaled to fit.
An x-height of 2.5 mm is 17 minutes of arc at 50 cm; ISO 9241-303 asks for capitals of at least 16,
and these are 1.4 times as high. Such a screen is 1024×600 (153×90 mm, 170 pixels per inch) or
1280×800 (151×94 mm, 216): at least 150 by 90 mm, hence 60 by 36 x-heights for radiograph and
caption together. The radiograph takes all the space that the caption does not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from orthoedge.runtime.overlay import caption
from orthoedge.runtime.overlay.caption import BACKGROUND, Entry, draw_caption
from orthoedge.runtime.overlay.colormap import Picture

SCREEN = (60.0, 36.0)  # width and height in x-heights
CAPTION_WIDTHS = range(20, 50, 2)  # tried for a caption at the right, in x-heights
_UNBROKEN = 32.0  # longer words are broken: a long label must not shrink the radiograph
_OVERFULL = 40.0  # width of a caption that does not fit a screen
_LEAST = 12.0  # height left for the radiograph above a caption, in x-heights


@dataclass(frozen=True)
class Layout:
    """How a panel and its caption share a screen."""

    is_right: bool
    """The caption is to the right of the radiograph; else below it."""
    caption_width: float
    """Width of the caption, in x-heights."""
    zoom: float
    """X-heights per pixel of the radiograph."""


@dataclass(frozen=True)
class CaptionSize:
    """How much room a caption needs, in x-heights."""

    least: float
    """Width of the narrowest one that breaks no word."""
    height: Callable[[float], float]
    """Height for a width."""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> CaptionSize:
        """Measure a caption that `draw_caption` draws."""
        return cls(caption.min_width(entries), partial(caption.caption_height, entries))


def fit_layout(
    columns: int, rows: int, size: CaptionSize, screen: tuple[float, float] = SCREEN
) -> Layout:
    """Choose the layout that shows a panel of that size largest on a screen."""
    wide, high = screen
    least = min(size.least, _UNBROKEN)
    layouts = [
        Layout(True, width, min((wide - width) / columns, high / rows))
        for width in CAPTION_WIDTHS
        if width >= least and size.height(width) <= high
    ]
    below = high - size.height(wide)
    if below >= _LEAST:
        layouts.append(Layout(False, wide, min(wide / columns, below / rows)))
    if layouts:
        return max(layouts, key=lambda layout: layout.zoom)
    # The caption does not fit a screen. It is never cut, so the picture is larger than the screen.
    return Layout(True, _OVERFULL, min((wide - _OVERFULL) / columns, high / rows))


def add_caption(
    panel: Picture, entries: Sequence[Entry], layout: Layout, unit: float, zoom: float
) -> Picture:
    """Draw the caption to the right of a panel or below it; the panel is at the top left.

    Args:
        panel: uint8 (H, W, 3), BGR.
        entries: entries of the caption.
        layout: from `fit_layout`.
        unit: the x-height, in pixels of the panel.
        zoom: pixels of the panel per pixel of the radiograph.
    """
    rows, columns = panel.shape[:2]
    wide = max(round(layout.caption_width * unit), 0 if layout.is_right else columns)
    high = math.ceil(caption.caption_height(entries, wide / unit) * unit)
    x, y = (columns, 0) if layout.is_right else (0, rows)
    shape = (max(rows, high), columns + wide) if layout.is_right else (rows + high, wide)
    canvas: Picture = np.full((*shape, 3), BACKGROUND, np.uint8)
    canvas[:rows, :columns] = panel
    del panel
    canvas[y:, x:] = draw_caption(entries, (shape[0] - y, wide), unit, zoom)
    return canvas
