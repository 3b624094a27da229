"""The caption of an overlay: text, decision symbol, colour bar and ruler.

Every length is in x-heights, the height of a small letter, because the layout depends on the text
size. The font is OpenCV's, ASCII only, and differs between OpenCV 4 and 5, so text is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

from orthoedge.runtime.overlay.colormap import LINE, Picture, colorize, draw_dashes, draw_lines

Mark = Literal["", "report", "refer", "reject", "colours", "ruler", "outline"]

BACKGROUND = 24  # of all three channels
_TEXT = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ASCII = str.maketrans("×–—’‘“”…·", "x--''\"\".-", "\r")
_MARGIN = 1.0
_ROW = 2.1  # from a base line to the next
_SPACE = 0.7  # between two entries
_SHAPE = 3.2  # height of the symbol of a decision
_INDENT = _SHAPE + 0.8  # of the text next to it
_TALLEST = 1.6  # of a letter above the base line
_STROKE = 1 / 8  # width of a letter's lines
_SIGNS: dict[Mark, list[tuple[tuple[float, float], ...]]] = {  # i, ! and x, in radii of the symbol
    "report": [((0, -0.52), (0, -0.5)), ((0, -0.08), (0, 0.55))],
    "refer": [((0, -0.35), (0, 0.22)), ((0, 0.6), (0, 0.62))],
    "reject": [((-0.4, -0.4), (0.4, 0.4)), ((0.4, -0.4), (-0.4, 0.4))],
    "outline": [],
}
_WIDE = 50.0  # from this width on, bar and ruler are in a row with their text
_BAR = 20.0  # length of the bar with both labels, in such a row
_BAR_BASE = 80  # grey level under the colour bar, that of soft tissue


@dataclass(frozen=True)
class Entry:
    """One entry of a caption."""

    text: str
    """Wrapped where too long; the font is ASCII only, other letters become `?`."""
    mark: Mark = ""
    """Symbol of a decision or an outline before the text, or colour bar or ruler above it."""
    length: float = 0
    """Of a ruler, in pixels of the radiograph."""


def caption_height(entries: Sequence[Entry], width: float) -> float:
    """Compute the height of a caption `width` x-heights wide, in x-heights."""
    heights = sum(_height(entry, width) for entry in entries)
    return 2 * _MARGIN + heights + max(0, len(entries) - 1) * _SPACE


def min_width(entries: Sequence[Entry]) -> float:
    """Compute the width of the narrowest caption that breaks no word, in x-heights."""
    words = ((entry, word) for entry in entries for word in _plain(entry.text).split())
    widths = (_indent(entry, 0) + _width(word) for entry, word in words)
    return 2 * _MARGIN + max(widths, default=0)


def draw_caption(
    entries: Sequence[Entry], shape: tuple[int, int], unit: float, zoom: float = 1
) -> Picture:
    """Draw a caption.

    Args:
        entries: its entries, top to bottom.
        shape: height and width in pixels; at least `caption_height`, or the caption is cut.
        unit: the x-height, in pixels.
        zoom: pixels of the picture per pixel of the radiograph, for the ruler.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    strip: Picture = np.full((*shape, 3), BACKGROUND, np.uint8)
    width = shape[1] / unit
    top = _MARGIN
    for entry in entries:
        left = _MARGIN + _indent(entry, width)
        rows = _rows(entry, width)
        base = top + _above(entry, width) * _ROW + _TALLEST
        if entry.mark == "colours":
            _draw_bar(strip, top, unit, _BAR if width >= _WIDE else width - 2 * _MARGIN)
        elif entry.mark == "ruler":
            start = left + _width(rows[0]) + 1 if width >= _WIDE else left
            _draw_ruler(strip, (start, top), unit, entry.length * zoom / unit)
        elif entry.mark == "outline":
            _draw_outline(strip, top, unit)
            base += max(0, _SHAPE - len(rows) * _ROW) / 2
        elif entry.mark:
            _draw_shape(strip, entry.mark, top, unit)
            base += max(0, _SHAPE - len(rows) * _ROW) / 2
        for number, row in enumerate(rows):
            _write(strip, row, left, base + number * _ROW, unit)
        top += _height(entry, width) + _SPACE
    return strip


def _height(entry: Entry, width: float) -> float:
    text = (len(_rows(entry, width)) + _above(entry, width)) * _ROW
    return max(text, _SHAPE) if entry.mark in _SIGNS else text


def _rows(entry: Entry, width: float) -> list[str]:
    text, room = _plain(entry.text), width - 2 * _MARGIN - _indent(entry, width)
    joined = text.replace("\n", "    ")
    if entry.mark in _SIGNS and _width(joined) <= room:  # label and decision
        return [joined]
    return list(_wrap(text, room))


def _above(entry: Entry, width: float) -> bool:
    """Return whether bar or ruler are above their text."""
    return entry.mark in ("colours", "ruler") and width < _WIDE


def _indent(entry: Entry, width: float) -> float:
    if entry.mark == "colours" and width >= _WIDE:
        return _BAR + 1
    return _INDENT if entry.mark in _SIGNS else 0


def _draw_shape(strip: Picture, mark: Mark, top: float, unit: float) -> None:
    """Draw a disc, a triangle or an octagon with a sign in it, distinguishable without colour."""
    radius = _SHAPE / 2
    middle = np.array([_MARGIN + radius, top + radius])
    corners, turn = {"report": (120, 0.0), "refer": (3, -90.0), "reject": (8, 22.5)}[mark]
    angles = np.radians(turn + 360 / corners * np.arange(corners))
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    if mark == "refer":  # as high as the others: the centre of a triangle is low
        ring = ring * 1.15 + (0, 0.2)
    cv2.fillPoly(strip, [_points(middle + ring, unit)], _TEXT, cv2.LINE_AA, shift=4)
    for line in _SIGNS[mark]:
        points = _points(middle + np.array(line) * radius, unit)
        width = max(1, round(0.38 * unit))
        cv2.polylines(strip, [points], False, (BACKGROUND,) * 3, width, cv2.LINE_AA, shift=4)


def _draw_outline(strip: Picture, top: float, unit: float) -> None:
    """Draw a ring of dashes, as regions are outlined on the radiograph."""
    radius = _SHAPE / 2
    angles = np.radians(np.arange(0, 360, 3))
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radius - 0.2)
    middle = np.array([_MARGIN + radius, top + radius])
    draw_dashes(strip, [(middle + ring) * unit], line_width(unit))


def _draw_bar(strip: Picture, top: float, unit: float, length: float) -> None:
    """Draw the colours from no saliency to the peak, with the line at half of the peak."""
    y = top + _TALLEST
    _write(strip, "none", _MARGIN, y, unit)
    end = _MARGIN + length - _width("peak")
    _write(strip, "peak", end, y, unit)
    x0, x1 = (round(x * unit) for x in (_MARGIN + _width("none") + 0.5, end - 0.5))
    y0, y1 = round(top * unit), round(y * unit)
    if x1 - x0 < 2:
        return
    base = np.full((y1 - y0, x1 - x0), _BAR_BASE, np.uint8)
    strip[y0:y1, x0:x1] = colorize(base, np.linspace(0, 1, 256, dtype=np.float32)[None])
    half = np.array([[(x0 + x1) / 2, y0], [(x0 + x1) / 2, y1 - 1]])
    draw_lines(strip, [np.rint(half * 16).astype(np.int32)], line_width(unit), LINE)


def _draw_ruler(strip: Picture, start: tuple[float, float], unit: float, length: float) -> None:
    (x, top), high = start, _TALLEST - 0.3
    ruler = np.array([(0, 0.3), (0, high), (0, high / 2), (1, high / 2), (1, 0.3), (1, high)])
    points = _points(ruler * (length, 1) + (x, top), unit)
    cv2.polylines(strip, [points], False, _TEXT, line_width(unit), cv2.LINE_AA, shift=4)


def line_width(unit: float) -> int:
    """Return the width in pixels of a line as clear as the text: 1/8 of its x-height."""
    return max(1, round(unit * _STROKE))


def round_length(longest: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most `longest`."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def _points(points: np.ndarray, unit: float) -> np.ndarray:
    """Convert points in x-heights to OpenCV's sixteenths of a pixel."""
    return np.rint(points * unit * 16).astype(np.int32)


def _plain(text: str) -> str:
    known = _advances()
    return "".join(c if c in known or c == "\n" else "?" for c in text.translate(_ASCII))


def _write(strip: Picture, text: str, x: float, y: float, unit: float) -> None:
    """Write text with the left end of its base line at x, y."""
    position = (round(x * unit), round(y * unit))
    scale = unit / _x_height()
    cv2.putText(strip, text, position, _FONT, scale, _TEXT, line_width(unit), cv2.LINE_AA)


@cache
def _x_height() -> float:
    """Measure the pixels from the base line to the top of an `x` at a font scale of 1."""
    paper = np.zeros((400, 400), np.uint8)
    cv2.putText(paper, "x", (50, 300), _FONT, 8, 255, 1, cv2.LINE_AA)
    return float(np.count_nonzero(paper.max(axis=1) > 127)) / 8


@cache
def _advances() -> dict[str, float]:
    """Measure the width of each letter of the font with its spacing, in x-heights."""

    def width(text: str) -> int:
        return cv2.getTextSize(text, _FONT, 8, round(8 * _x_height() * _STROKE))[0][0]

    # Between two letters, because the space around the first and last is not counted.
    bare = width("xx")
    letters = map(chr, range(32, 127))
    return {c: (width(f"x{c}x") - bare) / 8 / _x_height() for c in letters}


def _width(text: str) -> float:
    return sum(_advances()[letter] for letter in text)


def _wrap(text: str, width: float) -> Iterator[str]:
    """Break text into rows of at most `width`: at spaces, or inside a word longer than a row."""
    for line in text.split("\n"):
        row = ""
        for word in line.split(" "):
            joined = f"{row} {word}" if row else word
            if _width(joined) <= width:
                row = joined
                continue
            if row:
                yield row
            row = word
            while len(row) > 1 and _width(row) > width:
                cut = 1
                while _width(row[: cut + 1]) <= width:
                    cut += 1
                yield row[:cut]
                row = row[cut:]
        yield row
