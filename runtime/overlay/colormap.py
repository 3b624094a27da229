"""The heat map over a radiograph: how its colours are made, where they lie, and the half-way line.

The map is a distance in CIELAB: a pixel twice as salient lies twice as far from its own grey, over
bone and over air alike, and one of no saliency keeps its bytes. The grey under the peak is not
covered but dyed, dark to dark rust and bright to bright amber, so that an edge stays an edge.

Amber and sky blue lie on the axis that protan and deutan eyes keep, and the line has a dark rim
that sets it off by lightness alone, for tritan eyes and grey print (Okabe and Ito, Color Universal
Design, 2008; Machado et al., IEEE TVCG 15 (2009), 1291-1298, is what the tests see with).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preprocess import LetterboxTransform, Pixels

Picture = npt.NDArray[np.uint8]  # (H, W, 3), BGR
Heat = npt.NDArray[np.float32]  # (h, w), 0 to 1

_PEAK_OVER_BLACK = (0, 35, 150)  # BGR, L* 33
_PEAK_OVER_WHITE = (85, 195, 255)  # BGR, L* 82; yellower, tritan eyes would see it white
LINE = (255, 190, 60)  # BGR
_RIM = (0, 0, 0)
_DIMMED = 0.4  # of the brightness, for what the network did not see
_CROSSED = 0.5  # of the brightness, for what it refused
_ROWS = 64  # of a block whose words stay within the processor's cache
_FINEST = 2048  # long side of the grid on which the half-way line is traced


def place(saliency: npt.NDArray[np.float32], placement: LetterboxTransform, size: int) -> Heat:
    """The part of a saliency map over the field, in shares of its peak.

    Args:
        saliency: float32 (h, w), not negative, over the whole S×S square.
        placement: where that square lies on the radiograph.
        size: side S of the square, in pixels.

    Returns:
        float32, 0 to 1, as high and wide as `placement.content`.
    """
    # Scaled by the maximum of the whole square: where a network looks at the padding, the field
    # must come out cold, and not be stretched until something in it glows.
    peak = float(saliency.max())
    unit = saliency.astype(np.float32) / np.float32(peak if peak > 0 else 1)
    square = cv2.resize(unit, (size, size), interpolation=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = placement.content
    return np.clip(square[y0:y1, x0:x1], 0, 1).astype(np.float32, copy=False)  # cubic overshoots


def dye(grey: Pixels, heat: Heat) -> Picture:
    """Colour a radiograph by its map.

    Args:
        grey: uint8 (H, W).
        heat: float32 (h, w), 0 to 1, spread over the whole of `grey`.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    steps = np.rint(heat * 255).astype(np.uint8)
    spread = cv2.resize(steps, (grey.shape[1], grey.shape[0]), interpolation=cv2.INTER_LINEAR)
    dyed = np.empty((*grey.shape, 3), np.uint8)
    for start in range(0, len(grey), _ROWS):
        block = slice(start, start + _ROWS)
        places = spread[block].astype(np.uint16) << 8 | grey[block]
        # Four bytes at once: numpy gathers words several times faster than rows of three.
        four = np.take(_table(), places).view(np.uint8).reshape(*places.shape, 4)
        dyed[block] = cv2.cvtColor(four, cv2.COLOR_BGRA2BGR)
    return dyed


def outline(panel: Picture, heat: Heat, width: int) -> None:
    """Draw the line of half the peak, `width` pixels wide and rimmed, into the picture (H, W, 3).

    The lines of the shape are traced on a grid of its own, so that they are as smooth on a large
    radiograph as on a small one.
    """
    rows, columns = heat.shape
    wanted = min(2 * max(panel.shape[:2]), _FINEST)
    finer = max(1, wanted // max(rows, columns))
    shape = (columns * finer, rows * finer)
    fine = cv2.resize(heat, shape, interpolation=cv2.INTER_LINEAR)
    inside = (fine >= 0.5).astype(np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    zoom = np.array([panel.shape[1], panel.shape[0]]) / shape
    lines = []
    for line in found:
        smooth = cv2.approxPolyDP(line, 0.8, closed=True)  # of a step of the grid
        lines.append(np.rint(((smooth + 0.5) * zoom - 0.5) * 16).astype(np.int32))
    stroke(panel, lines, max(width, 2), LINE)  # thinner, only the rim would be seen


def stroke(
    panel: Picture, lines: list[npt.NDArray[np.int32]], width: int, colour: tuple[int, int, int]
) -> None:
    """Draw closed lines with a dark rim into the picture; points in sixteenths of a pixel."""
    rim = width + 2 * max(1, width // 3)
    for shade, thickness in ((_RIM, rim), (colour, width)):
        cv2.polylines(panel, lines, True, shade, thickness, cv2.LINE_AA, shift=4)


def dimmed(grey: Pixels) -> Picture:
    """A radiograph uint8 (H, W) as the network's blind part is shown, BGR (H, W, 3)."""
    return _darker(grey, _DIMMED)


def crossed_out(grey: Pixels, width: int) -> Picture:
    """A radiograph uint8 (H, W) that was refused: without colour, dark, under a cross."""
    panel = _darker(grey, _CROSSED)
    right, bottom = 16 * (grey.shape[1] - 1), 16 * (grey.shape[0] - 1)
    diagonals = [[(0, 0), (right, bottom)], [(right, 0), (0, bottom)]]
    stroke(panel, [np.array(line, np.int32) for line in diagonals], width, (255, 255, 255))
    return panel


def _darker(grey: Pixels, share: float) -> Picture:
    steps = np.rint(np.arange(256) * share).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(grey, steps), cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)


@cache
def _table() -> npt.NDArray[np.uint32]:
    """The colour of every heat (rows) over every grey (columns), as uint32 (256 * 256,)."""
    grey = np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, axis=1)  # (256, 3)
    ends = np.array([_PEAK_OVER_BLACK, _PEAK_OVER_WHITE], np.float32) / 255
    cold = cv2.cvtColor(grey[None], cv2.COLOR_BGR2Lab)  # (1, 256, 3)
    low, high = cv2.cvtColor(ends[None], cv2.COLOR_BGR2Lab)[0]
    # By lightness, not by grey value: the dyed steps are then as even as the plain ones.
    hot = low + (high - low) * cold[..., :1] / 100
    heat = np.arange(256, dtype=np.float32)[:, None, None] / 255
    dyed = cv2.cvtColor((cold + (hot - cold) * heat).astype(np.float32), cv2.COLOR_Lab2BGR)
    table = np.zeros((256, 256, 4), np.uint8)
    table[..., :3] = np.rint(np.clip(dyed, 0, 1) * 255)
    table[0, :, :3] = np.arange(256)[:, None]
    words = table.view(np.uint32).ravel()
    words.flags.writeable = False  # shared by every call and thread
    return words
