"""The colour map of the saliency overlay, and the contour at half of the peak.

Saliency is a distance in CIELAB: a pixel of twice the saliency is twice as far from its own grey,
over bone and over air alike, and a pixel without saliency keeps its value. The grey under the peak
is tinted, not covered: dark becomes dark rust and bright becomes bright amber, so edges stay
visible.

Amber and sky blue are on the axis that protan and deutan eyes distinguish, and the contour has a
dark rim that is visible by lightness alone, for tritan eyes and greyscale print (Okabe and Ito,
Color Universal Design, 2008; the tests simulate vision as Machado et al., IEEE TVCG 15 (2009),
1291-1298).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preprocess import LetterboxTransform, Pixels

Picture = npt.NDArray[np.uint8]  # (H, W, 3), BGR
Heat = npt.NDArray[np.float32]  # (h, w), 0 to 1

_PEAK_OVER_BLACK = (0, 35, 150)  # BGR, L* 33
_PEAK_OVER_WHITE = (85, 195, 255)  # BGR, L* 82; a yellower one is white for tritan eyes
LINE = (255, 190, 60)  # BGR
OUTLINE = (255, 255, 255)  # of regions; dashes tell it from the other line without colours
_DASH, _GAP = 7.0, 4.0  # in widths of the line
_RIM = (0, 0, 0)
_DIMMED = 0.4  # of the brightness, outside the collimated field
_CROSSED = 0.5  # of the brightness, of a rejected radiograph
_ROWS = 64  # of a block whose table indices stay in the processor cache
_FINEST = 2048  # long side of the grid on which the contour is traced


def map_over_field(
    saliency: npt.NDArray[np.float32], transform: LetterboxTransform, input_size: int
) -> Heat:
    """Crop a saliency map to the collimated field and scale it by its peak.

    Args:
        saliency: float32 (h, w), not negative, over the whole model input.
        transform: position of the model input on the radiograph.
        input_size: side S of the model input, in pixels.

    Returns:
        float32, 0 to 1, as high and wide as `transform.content`.
    """
    # Scaled by the maximum of the whole model input: if the peak is in the padding, the field must
    # stay cold, and not be stretched until a part of it lights up.
    peak = float(saliency.max())
    unit = saliency.astype(np.float32) / np.float32(peak if peak > 0 else 1)
    whole = cv2.resize(unit, (input_size, input_size), interpolation=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = transform.content
    return np.clip(whole[y0:y1, x0:x1], 0, 1).astype(np.float32, copy=False)  # cubic overshoots


def colorize(grey: Pixels, heat: Heat) -> Picture:
    """Tint a radiograph by its saliency.

    Args:
        grey: uint8 (H, W).
        heat: float32 (h, w), 0 to 1, spread over the whole of `grey`.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    steps = np.rint(heat * 255).astype(np.uint8)
    spread = cv2.resize(steps, (grey.shape[1], grey.shape[0]), interpolation=cv2.INTER_LINEAR)
    colored = np.empty((*grey.shape, 3), np.uint8)
    for start in range(0, len(grey), _ROWS):
        block = slice(start, start + _ROWS)
        indices = spread[block].astype(np.uint16) << 8 | grey[block]
        # Four bytes at once: numpy gathers uint32 several times faster than rows of three bytes.
        bgra = np.take(_table(), indices).view(np.uint8).reshape(*indices.shape, 4)
        colored[block] = cv2.cvtColor(bgra, cv2.COLOR_BGRA2BGR)
    return colored


def draw_contour(panel: Picture, heat: Heat, width: int) -> None:
    """Draw the contour at half of the peak, `width` pixels wide with a rim, into (H, W, 3)."""
    rows, columns = panel.shape[:2]
    lines = [np.rint(line * 16).astype(np.int32) for line in trace_contour(heat, rows, columns)]
    draw_lines(panel, lines, max(width, 2), LINE)  # in a thinner line only the rim would be visible


def trace_contour(heat: Heat, rows: int, columns: int) -> list[npt.NDArray[np.float64]]:
    """Trace the contour at half of the peak.

    It is traced on a grid of its own, so that it is as smooth on a large radiograph as on a small
    one.

    Args:
        heat: float32 (h, w), 0 to 1, spread over the whole of a panel.
        rows: height of the panel, in pixels.
        columns: width of the panel, in pixels.

    Returns:
        Closed lines without their first point repeated, each float64 (P, 1, 2): x and y in pixels
        of the panel, 0 for the centre of the first one. An empty list where nothing is as high.
    """
    side = min(2 * max(rows, columns), _FINEST)
    factor = max(1, side // max(heat.shape))
    shape = (heat.shape[1] * factor, heat.shape[0] * factor)
    fine = cv2.resize(heat, shape, interpolation=cv2.INTER_LINEAR)
    inside = (fine >= 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    zoom = np.array([columns, rows]) / shape
    # The tolerance is of a step of the grid.
    smooth = (cv2.approxPolyDP(contour, 0.8, closed=True) for contour in contours)
    return [(line + 0.5) * zoom - 0.5 for line in smooth]


def draw_lines(
    panel: Picture, lines: list[npt.NDArray[np.int32]], width: int, colour: tuple[int, int, int]
) -> None:
    """Draw closed lines with a dark rim into the picture; points in sixteenths of a pixel."""
    rim = width + 2 * max(1, width // 3)
    for shade, thickness in ((_RIM, rim), (colour, width)):
        cv2.polylines(panel, lines, True, shade, thickness, cv2.LINE_AA, shift=4)


def draw_dashes(panel: Picture, lines: Sequence[npt.NDArray[np.float64]], width: int) -> None:
    """Draw closed lines, each (P, 2) x and y in pixels, as white dashes with a dark rim."""
    width = max(width, 2)
    parts = [dash for line in lines for dash in _dashes(line, _DASH * width, _GAP * width)]
    fixed = [np.rint(part * 16).astype(np.int32) for part in parts]
    rim = width + 2 * max(1, width // 2)
    for shade, thickness in ((_RIM, rim), (OUTLINE, width)):
        cv2.polylines(panel, fixed, False, shade, thickness, cv2.LINE_AA, shift=4)


def _dashes(
    line: npt.NDArray[np.float64], dash: float, gap: float
) -> Iterator[npt.NDArray[np.float64]]:
    """Cut a closed line into dashes of equal length; a short one still has three."""
    closed = np.concatenate((line, line[:1]))
    at = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))))
    count = max(3, round(at[-1] / (dash + gap)))
    period = at[-1] / count
    for start in np.arange(count) * period:
        end = start + period * dash / (dash + gap)
        inner = at[(at > start) & (at < end)]
        points = np.concatenate(([start], inner, [end]))
        yield np.stack([np.interp(points, at, closed[:, axis]) for axis in (0, 1)], axis=1)


def dimmed_panel(grey: Pixels, share: float = _DIMMED) -> Picture:
    """Draw a radiograph uint8 (H, W) as the area outside the field is shown, BGR (H, W, 3)."""
    steps = np.rint(np.arange(256) * share).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(grey, steps), cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)


def rejected_panel(grey: Pixels, width: int) -> Picture:
    """Draw a rejected radiograph uint8 (H, W): dark, without colour, crossed out."""
    panel = dimmed_panel(grey, _CROSSED)
    right, bottom = 16 * (grey.shape[1] - 1), 16 * (grey.shape[0] - 1)
    diagonals = [[(0, 0), (right, bottom)], [(right, 0), (0, bottom)]]
    draw_lines(panel, [np.array(line, np.int32) for line in diagonals], width, (255, 255, 255))
    return panel


@cache
def _table() -> npt.NDArray[np.uint32]:
    """Compute the colour of every saliency (rows) over every grey (columns), uint32 (65536,)."""
    grey = np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, axis=1)  # (256, 3)
    ends = np.array([_PEAK_OVER_BLACK, _PEAK_OVER_WHITE], np.float32) / 255
    cold = cv2.cvtColor(grey[None], cv2.COLOR_BGR2Lab)  # (1, 256, 3)
    low, high = cv2.cvtColor(ends[None], cv2.COLOR_BGR2Lab)[0]
    # By lightness, not by grey level: the tinted steps are then as even as the grey ones.
    hot = low + (high - low) * cold[..., :1] / 100
    heat = np.arange(256, dtype=np.float32)[:, None, None] / 255
    tinted = cv2.cvtColor((cold + (hot - cold) * heat).astype(np.float32), cv2.COLOR_Lab2BGR)
    table = np.zeros((256, 256, 4), np.uint8)
    table[..., :3] = np.rint(np.clip(tinted, 0, 1) * 255)
    table[0, :, :3] = np.arange(256)[:, None]
    packed = table.view(np.uint32).ravel()
    packed.flags.writeable = False  # shared by every call and thread
    return packed
