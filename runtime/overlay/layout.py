"""Where the words stand beside a radiograph, and how large they are.

The words are sized for a portable unit's 7-inch screen, on which the picture is scaled to fit. An
x-height of 2.5 mm is 17 minutes of arc at 50 cm; ISO 9241-303 asks for capitals of at least 16, and
ours are 1.4 times as high. Such a screen is 1024×600 (153×90 mm, 170 pixels an inch) or 1280×800
(151×94 mm, 216): at least 150 by 90 mm, hence 60 by 36 x-heights, into which radiograph and words
must fit together. What the words do not need is the radiograph's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthoedge.runtime.overlay.caption import (
    BACKGROUND,
    Entry,
    draw,
    height,
    narrowest,
)
from orthoedge.runtime.overlay.colormap import Picture

SCREEN = (60.0, 36.0)  # width and height in x-heights
_WORDS = range(20, 50, 2)  # widths tried for words beside the radiograph, in x-heights
_UNBROKEN = 32.0  # words that need more are broken: a long label must not cost the radiograph
_CROWDED = 40.0  # their width where a screen does not hold them

_LEAST = 12.0  # height left for the radiograph above words, in x-heights


@dataclass(frozen=True)
class Layout:
    """How a panel and its words share a screen."""

    beside: bool
    """Words to the right of the radiograph, or below it."""
    words: float
    """Width of the words, in x-heights."""
    zoom: float
    """X-heights per pixel of the radiograph."""


def fit(
    columns: int, rows: int, entries: Sequence[Entry], screen: tuple[float, float] = SCREEN
) -> Layout:
    """The layout that shows a panel of so many pixels largest on a small screen."""
    wide, high = screen
    least = min(narrowest(entries), _UNBROKEN)
    found = [
        Layout(True, words, min((wide - words) / columns, high / rows))
        for words in _WORDS
        if words >= least and height(entries, words) <= high
    ]
    below = high - height(entries, wide)
    if below >= _LEAST:
        found.append(Layout(False, wide, min(wide / columns, below / rows)))
    if found:
        return max(found, key=lambda layout: layout.zoom)
    # More words than a screen holds: they are never cut, so the picture outgrows it.
    return Layout(True, _CROWDED, min((wide - _CROWDED) / columns, high / rows))


def with_words(
    panel: Picture, entries: Sequence[Entry], layout: Layout, unit: float, zoom: float
) -> Picture:
    """Put the words beside or below a panel, which stays at the top left.

    Args:
        panel: uint8 (H, W, 3), BGR.
        entries: what the words say.
        layout: as `fit` gave it.
        unit: the x-height, in pixels of the panel.
        zoom: pixels of the panel per pixel of the radiograph.
    """
    rows, columns = panel.shape[:2]
    wide = max(round(layout.words * unit), 0 if layout.beside else columns)
    high = math.ceil(height(entries, wide / unit) * unit)
    x, y = (columns, 0) if layout.beside else (0, rows)
    shape = (max(rows, high), columns + wide) if layout.beside else (rows + high, wide)
    canvas: Picture = np.full((*shape, 3), BACKGROUND, np.uint8)
    canvas[:rows, :columns] = panel
    del panel
    canvas[y:, x:] = draw(entries, (shape[0] - y, wide), unit, zoom)
    return canvas
