"""The single preprocessing function, which training and the runtime share.

uint8 in, uint8 out, with only those OpenCV operations that give the same bytes on every build
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

# The collimated field is detected on a copy of less than twice this many pixels a side: the edge of
# a collimator is straight and long, so a coarse copy is enough.
_MOST_PIXELS, _LONGEST_SIDE = 2**31 - 1, 2**26  # OpenCV counts in int32, and crashes beyond
_COARSE = 128
_MARGIN_BRIGHT = 178  # unexposed film is white in the right polarity
_MARGIN_DARK = 6  # a shutter drawn by the unit is black
_WHITE_SHARE, _BLACK_SHARE = 0.9, 0.99  # of a line that belongs to such a margin
_NEITHER, _WHITE, _BLACK = range(3)
_KINDS = bytes(
    _WHITE if value >= _MARGIN_BRIGHT else _BLACK if value <= _MARGIN_DARK else _NEITHER
    for value in range(256)
)
"""Kind of margin by grey level."""
_SMALLEST_FIELD = 0.25  # of a side; a smaller one is a false detection and is ignored


class _Cache(threading.local):
    def __init__(self) -> None:
        self.clahe: dict[tuple[float, int], cv2.CLAHE] = {}


_CACHE = _Cache()


class LetterboxTransform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Position of the model input on the radiograph, in pixels."""

    field: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the collimated field on the radiograph, end exclusive."""
    content: tuple[int, int, int, int]
    """x0, y0, x1, y1 of that field inside the S×S model input, end exclusive."""


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Collimated field → letterbox to S×S → CLAHE. Stored in every manifest; no field is optional.

    Raises:
        ConfigError: a setting is out of range.
    """

    size: int
    """Side S of the model input, in pixels, 32 to 1024."""
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
        """Return the model input, uint8 (S, S), for a radiograph uint8 (H, W)."""
        return self.prepare(pixels)[0]

    def prepare(self, pixels: Pixels) -> tuple[Pixels, LetterboxTransform]:
        """Return the model input and its position on the radiograph.

        Args:
            pixels: uint8 (H, W), bone bright on dark.

        Returns:
            uint8 (S, S), and the transform.

        Raises:
            InputError: not a non-empty uint8 (H, W) array, or over 2³¹ - 1 pixels or 2²⁶ a side.
        """
        check_pixels(pixels)
        height, width = pixels.shape
        field, levels = (0, 0, width, height), [pixels]
        if self.collimated_field == "crop":
            levels = _halvings(pixels, _COARSE)
            field = _find_field(levels, height, width)
        x0, y0, x1, y1 = field
        if (y1 - y0, x1 - x0) != pixels.shape:
            levels = [pixels[y0:y1, x0:x1]]
        if self.clahe_stage == "before":
            levels = [self.clahe(levels[0])]
        model_input, content = _letterbox(levels, self.size)
        if self.clahe_stage == "after":
            model_input = self.clahe(model_input)
        return model_input, LetterboxTransform(field=field, content=content)

    def clahe(self, pixels: Pixels) -> Pixels:
        """Return uint8 (H, W) after CLAHE with these settings, whatever `clahe_stage` says."""
        # One object per thread, since it holds buffers; one per image would take 50 % longer.
        key = self.clahe_clip, self.clahe_tiles
        clahe = _CACHE.clahe.get(key)
        if clahe is None:
            tiles = (self.clahe_tiles, self.clahe_tiles)
            clahe = _CACHE.clahe[key] = cv2.createCLAHE(self.clahe_clip, tiles)
        return clahe.apply(np.ascontiguousarray(pixels))  # type: ignore[return-value]


def check_pixels(pixels: Pixels) -> None:
    """Check that this is a radiograph that can be prepared.

    Raises:
        InputError: not a non-empty uint8 (H, W) array, or over 2³¹ - 1 pixels or 2²⁶ a side.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
        )
    height, width = pixels.shape
    if pixels.size > _MOST_PIXELS or max(height, width) > _LONGEST_SIDE:
        raise InputError(
            f"image too large: {width}×{height} pixels, limit {_MOST_PIXELS:,} in all and "
            f"{_LONGEST_SIDE:,} a side"
        )


STANDARD = Preprocess(
    size=224, collimated_field="crop", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


def find_collimated_field(pixels: Pixels) -> tuple[int, int, int, int]:
    """Find the collimated field of a radiograph, uint8 (H, W), bone bright on dark.

    A margin is a strip along one side in which 90 % of the pixels are white (unexposed) or 99 % are
    black (a shutter). Margins that do not run along a whole side, such as those of a rotated
    collimator, are not removed. Margins are cropped, never blanked: blanking white areas at the
    border would blank an overexposed limb too.

    Returns:
        x0, y0, x1, y1 in pixels, end exclusive; the whole image if there is no margin, or if less
        than a quarter of a side would remain.
    """
    return _find_field(_halvings(pixels, _COARSE), *pixels.shape)


def _find_field(levels: list[Pixels], height: int, width: int) -> tuple[int, int, int, int]:
    """Find the field from the radiograph and its halvings."""
    coarse, factor = levels[-1], 2 ** (len(levels) - 1)
    if coarse.size <= 4:  # OpenCV 5 treats it as a scalar
        return 0, 0, width, height
    if not any(map(_is_margin, (coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]))):
        return 0, 0, width, height
    white = cv2.compare(coarse, _MARGIN_BRIGHT, cv2.CMP_GE)  # type: ignore[call-overload]
    black = cv2.compare(coarse, _MARGIN_DARK, cv2.CMP_LE)  # type: ignore[call-overload]
    rows, columns = coarse.shape
    x0, x1 = _inside(_count(white, 0), _count(black, 0), rows)
    y0, y1 = _inside(_count(white, 1), _count(black, 1), columns)
    # Lines that halving dropped at the far sides belong to the last line.
    right = width if x1 == columns else x1 * factor
    bottom = height if y1 == rows else y1 * factor
    return x0 * factor, y0 * factor, right, bottom


def _is_margin(line: Pixels) -> bool:
    """Return whether a line, uint8 (L,), belongs to a white or black margin."""
    kinds = line.tobytes().translate(_KINDS)  # faster than numpy
    white, black = kinds.count(_WHITE), kinds.count(_BLACK)
    return white >= _WHITE_SHARE * len(line) or black >= _BLACK_SHARE * len(line)


def _inside(white: Counts, black: Counts, across: int) -> tuple[int, int]:
    """Return the range of lines outside the margins, end exclusive, from counts on each line.

    `across` is the number of pixels of a line.
    """
    bright = white >= _WHITE_SHARE * across
    margin = bright | (black >= _BLACK_SHARE * across)
    count = len(margin)
    if not margin.any():
        return 0, count
    inside = np.flatnonzero(~margin)
    if len(inside) == 0 or inside[-1] + 1 - inside[0] < _SMALLEST_FIELD * count:
        return 0, count
    first, last = int(inside[0]), int(inside[-1]) + 1
    # The line next to a white margin is part margin, part field: CLAHE would amplify this rim. With
    # a slightly rotated collimator the next lines are part of the rim too.
    rim = white >= 0.25 * across
    if first > 0 and bright[first - 1]:
        first += 1 + _leading(rim[first + 1 : first + 3])
    if last < count and bright[last]:
        last -= 1 + _leading(rim[: last - 1][:-3:-1])
    return (first, last) if first < last else (0, count)  # else only rim would remain


def _leading(lines: npt.NDArray[np.bool_]) -> int:
    """Count the entries that are set before the first that is not."""
    return len(lines) if lines.all() else int(np.argmin(lines))


def _count(mask: cv2.typing.MatLike, axis: int) -> Counts:
    """Count the entries of a 0/255 mask that are set along `axis`."""
    sums = cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return sums.ravel().astype(np.int32, copy=False) // 255


def halve(pixels: Pixels) -> Pixels:
    """Average 2×2 pixels of uint8 (H, W), halves rounded up; an odd last line is dropped.

    INTER_AREA by other factors sums in floats and is many times slower.
    """
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
    even = pixels[: 2 * rows, : 2 * columns]
    return cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _halvings(pixels: Pixels, least: int) -> list[Pixels]:
    """Return the image and its halvings while the long side is at least `least`."""
    levels = [pixels]
    while max(levels[-1].shape) >= 2 * least and min(levels[-1].shape) >= 2:
        levels.append(halve(levels[-1]))
    return levels


def _letterbox(levels: list[Pixels], size: int) -> tuple[Pixels, tuple[int, int, int, int]]:
    """Fit uint8 (H, W) into (S, S), centred on zeros, and return the position of the content.

    `levels` are the image and the halvings that were already computed.
    """
    height, width = levels[0].shape
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    # Below twice the size, linear interpolation skips no pixel.
    near = next((level for level in levels if max(level.shape) < 2 * size), levels[-1])
    near = _halvings(near, size)[-1]
    x0, y0 = (size - new_width) // 2, (size - new_height) // 2
    model_input: Pixels = np.zeros((size, size), np.uint8)
    inside = model_input[y0 : y0 + new_height, x0 : x0 + new_width]
    cv2.resize(near, (new_width, new_height), inside, interpolation=cv2.INTER_LINEAR)
    return model_input, (x0, y0, x0 + new_width, y0 + new_height)
