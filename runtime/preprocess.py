"""The one preprocessing function: training and the runtime call this and nothing else.

uint8 in, uint8 out, and only OpenCV operations whose results are the same bytes on every build
(INTER_AREA by two, INTER_LINEAR, CLAHE). CLAHE: Zuiderveld, Graphics Gems IV (1994), 474-485.
"""

from __future__ import annotations

import threading
from typing import Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import ConfigError, InputError

Pixels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int32]

# The field is looked for on a copy of under twice this many pixels a side: a collimator edge is
# straight and long, so a coarse copy shows it.
_COARSE = 128
_MARGIN_BRIGHT = 178  # unexposed film is white once polarity is right
_MARGIN_DARK = 6  # a shutter drawn by the unit is black
_WHITE_SHARE, _BLACK_SHARE = 0.9, 0.99  # of a line that belongs to such a margin
_NEITHER, _WHITE, _BLACK = range(3)
_KINDS = bytes(
    _WHITE if value >= _MARGIN_BRIGHT else _BLACK if value <= _MARGIN_DARK else _NEITHER
    for value in range(256)
)
"""What each grey level counts as."""
_SMALLEST_FIELD = 0.25  # of a side; less is a misreading, and the whole image is kept


class _Kept(threading.local):
    def __init__(self) -> None:
        self.clahe: dict[tuple[float, int], cv2.CLAHE] = {}


_KEPT = _Kept()


class LetterboxTransform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the network's square lies on the radiograph, in pixels."""

    field: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the collimated field on the radiograph, end exclusive."""
    content: tuple[int, int, int, int]
    """x0, y0, x1, y1 of that field inside the S×S square, end exclusive."""


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Collimated field → letterbox to S×S → CLAHE. Stored in every manifest; no field is optional.

    Raises:
        ConfigError: a setting is out of range.
    """

    size: int
    """Side S of the square, in pixels, 32 to 1024."""
    collimated_field: Literal["crop", "keep"]
    """`crop` cuts white or black collimator margins that run along a whole side."""
    clahe_stage: Literal["after", "before", "none"]
    """CLAHE after the resize, before it, or not at all."""
    clahe_clip: float
    """Contrast limit of CLAHE."""
    clahe_tiles: int
    """Tiles per side of CLAHE."""

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise ConfigError(f"preprocess.size: expected 32 to 1024 pixels, got {self.size}")
        if not 0 < self.clahe_clip <= 40:
            raise ConfigError(f"preprocess.clahe_clip: expected 0 to 40, got {self.clahe_clip}")
        if not 1 <= self.clahe_tiles <= 32:
            raise ConfigError(f"preprocess.clahe_tiles: expected 1 to 32, got {self.clahe_tiles}")

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the network's input, uint8 (S, S), for a radiograph uint8 (H, W)."""
        return self.prepare(pixels)[0]

    def prepare(self, pixels: Pixels) -> tuple[Pixels, LetterboxTransform]:
        """Return the network's input and where it lies on the radiograph.

        Args:
            pixels: uint8 (H, W), bone bright on dark.

        Returns:
            uint8 (S, S), and the placement.

        Raises:
            InputError: not a non-empty uint8 (H, W) array.
        """
        if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
            raise InputError(
                f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
            )
        height, width = pixels.shape
        field, levels = (0, 0, width, height), [pixels]
        if self.collimated_field == "crop":
            levels = _halvings(pixels, _COARSE)
            field = _field(levels, height, width)
        x0, y0, x1, y1 = field
        if (y1 - y0, x1 - x0) != pixels.shape:
            levels = [pixels[y0:y1, x0:x1]]
        if self.clahe_stage == "before":
            levels = [self._clahe(levels[0])]
        square, content = _letterbox(levels, self.size)
        if self.clahe_stage == "after":
            square = self._clahe(square)
        return square, LetterboxTransform(field=field, content=content)

    def _clahe(self, pixels: Pixels) -> Pixels:
        # An object per thread: it keeps its buffers, so threads cannot share one, and a new one for
        # each image takes half as long again.
        key = self.clahe_clip, self.clahe_tiles
        clahe = _KEPT.clahe.get(key)
        if clahe is None:
            tiles = (self.clahe_tiles, self.clahe_tiles)
            clahe = _KEPT.clahe[key] = cv2.createCLAHE(self.clahe_clip, tiles)
        return clahe.apply(np.ascontiguousarray(pixels))  # type: ignore[return-value]


STANDARD = Preprocess(
    size=224, collimated_field="crop", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


def find_collimated_field(pixels: Pixels) -> tuple[int, int, int, int]:
    """Find the collimated field of a radiograph, uint8 (H, W), bone bright on dark.

    A margin is a strip along one side in which nine pixels of ten are white (unexposed), or all
    but one of a hundred are black (a shutter). Margins that do not run along a whole side, such as
    those of a rotated collimator, are left in.

    Returns:
        x0, y0, x1, y1 in pixels, end exclusive; the whole image where no margin is found, or where
        what would remain is under a quarter of a side.
    """
    return _field(_halvings(pixels, _COARSE), *pixels.shape)


def _field(levels: list[Pixels], height: int, width: int) -> tuple[int, int, int, int]:
    """The same from the radiograph and its halvings."""
    coarse, factor = levels[-1], 2 ** (len(levels) - 1)
    if coarse.size <= 4:  # OpenCV 5 would take it for a scalar
        return 0, 0, width, height
    if not any(map(_is_margin, (coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]))):
        return 0, 0, width, height
    white = cv2.compare(coarse, _MARGIN_BRIGHT, cv2.CMP_GE)  # type: ignore[call-overload]
    black = cv2.compare(coarse, _MARGIN_DARK, cv2.CMP_LE)  # type: ignore[call-overload]
    rows, columns = coarse.shape
    x0, x1 = _inside(_count(white, 0), _count(black, 0), rows)
    y0, y1 = _inside(_count(white, 1), _count(black, 1), columns)
    # What halving left over at the far sides goes with the last line.
    right = width if x1 == columns else x1 * factor
    bottom = height if y1 == rows else y1 * factor
    return x0 * factor, y0 * factor, right, bottom


def _is_margin(line: Pixels) -> bool:
    """Whether a line, uint8 (L,), belongs to a white or black margin."""
    kinds = line.tobytes().translate(_KINDS)  # numpy takes longer to compare and count
    white, black = kinds.count(_WHITE), kinds.count(_BLACK)
    return white >= _WHITE_SHARE * len(line) or black >= _BLACK_SHARE * len(line)


def _inside(white: Counts, black: Counts, across: int) -> tuple[int, int]:
    """First and one past the last line that belongs to no margin, from counts on each line.

    `across` is how many pixels a line has.
    """
    bright = white >= _WHITE_SHARE * across
    margin = bright | (black >= _BLACK_SHARE * across)
    count = len(margin)
    if not margin.any():
        return 0, count
    kept = np.flatnonzero(~margin)
    if len(kept) == 0 or kept[-1] + 1 - kept[0] < _SMALLEST_FIELD * count:
        return 0, count
    first, last = int(kept[0]), int(kept[-1]) + 1
    # The line next to a white margin is part margin, part field: a bright rim CLAHE would amplify.
    # Where the collimator stands a little askew, the rim is that of the next lines too.
    rim = white >= 0.25 * across
    if first > 0 and bright[first - 1]:
        first += 1 + _leading(rim[first + 1 : first + 3])
    if last < count and bright[last]:
        last -= 1 + _leading(rim[: last - 1][:-3:-1])
    return (first, last) if first < last else (0, count)  # else a sliver that is all rim


def _leading(lines: npt.NDArray[np.bool_]) -> int:
    """How many entries are set before the first that is not."""
    return len(lines) if lines.all() else int(np.argmin(lines))


def _count(mask: cv2.typing.MatLike, axis: int) -> Counts:
    """How many entries of a 0/255 mask are set along `axis`."""
    sums = cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return sums.ravel().astype(np.int32, copy=False) // 255


def halve(pixels: Pixels) -> Pixels:
    """Means of 2×2 pixels of uint8 (H, W), halves rounded up; an odd last line is left out.

    INTER_AREA by any other factor sums in floats and takes many times as long.
    """
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
    even = pixels[: 2 * rows, : 2 * columns]
    return cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _halvings(pixels: Pixels, least: int) -> list[Pixels]:
    """The image, and each halving of it while the long side stays at least `least`."""
    levels = [pixels]
    while max(levels[-1].shape) >= 2 * least and min(levels[-1].shape) >= 2:
        levels.append(halve(levels[-1]))
    return levels


def _letterbox(levels: list[Pixels], size: int) -> tuple[Pixels, tuple[int, int, int, int]]:
    """Fit uint8 (H, W) into (S, S), centred on zeros; also where the content lies.

    `levels` are that image and as many of its halvings as are at hand.
    """
    height, width = levels[0].shape
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    # Under twice the size, linear leaves no pixel out.
    near = next((level for level in levels if max(level.shape) < 2 * size), levels[-1])
    near = _halvings(near, size)[-1]
    x0, y0 = (size - new_width) // 2, (size - new_height) // 2
    square: Pixels = np.zeros((size, size), np.uint8)
    inside = square[y0 : y0 + new_height, x0 : x0 + new_width]
    cv2.resize(near, (new_width, new_height), inside, interpolation=cv2.INTER_LINEAR)
    return square, (x0, y0, x0 + new_width, y0 + new_height)
