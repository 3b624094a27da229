"""The picture beside an answer: the plain radiograph, the same with its heat map, and a caption.

The heat map is see-through where it is low, so that the anatomy under it stays readable, and its
colours grow in lightness with the value (inferno), so that it also reads in grey print and for the
colour-blind. The plain radiograph stands beside it: a map alone hides what it points at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.preprocess import Pixels, Placement

Picture = npt.NDArray[np.uint8]  # (H, W, 3), BGR

_SMALLEST, _LARGEST = 512, 1024  # long side of the radiograph in the picture
_NARROWEST = 720  # of the whole picture: a finger's panels alone would leave no room for words
_GAP = 8
_BACKGROUND = (24, 24, 24)
_TEXT = (235, 235, 235)
_FIELD = (150, 150, 150)
_CONTOUR = (255, 255, 0)  # cyan, a colour that inferno does not have
_OPAQUE = 0.7  # of the colour, where the map is highest
_DIMMED = 0.4  # of the brightness, for what the network did not see
_CLEAR = 0.15  # of the maximum; no colour below
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ASCII = str.maketrans("×–—’‘“”…·", "x--''\"\".-", "\r")


def overlay(
    pixels: Pixels,
    saliency: npt.NDArray[np.float32],
    placement: Placement,
    size: int,
    lines: Sequence[str],
) -> Picture:
    """Draw a radiograph, its heat map and a caption.

    Args:
        pixels: the radiograph as read, uint8 (H, W), bone bright on dark.
        saliency: float32 (h, w), not negative, over the whole S×S square; scaled by its maximum.
        placement: where that square lies on the radiograph.
        size: side S of the square, in pixels.
        lines: caption; wrapped where too long. The font has ASCII only, other letters become `?`.

    Returns:
        uint8 (H', W', 3), BGR. Each of the two panels is 512 to 1024 pixels on its long side.

    Raises:
        InputError: an array of another shape or type, or a map that is negative or not finite.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
        )
    if saliency.ndim != 2 or saliency.size == 0:
        raise InputError(f"expected a saliency map as float32 (h, w), got {saliency.shape}")
    if not np.isfinite(saliency).all() or saliency.min() < 0:
        raise InputError("saliency map holds negative or non-finite values")

    height, width = pixels.shape
    scale = min(max(height, width, _SMALLEST), _LARGEST) / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(pixels, shape, interpolation=interpolation)
    plain: Picture = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    x0, y0, x1, y1 = (
        min(max(0, round(edge * scale)), limit)
        for edge, limit in zip(placement.field, shape * 2, strict=True)
    )
    heated: Picture = np.rint(plain * _DIMMED).astype(np.uint8)
    if x1 > x0 and y1 > y0:
        heat = _place(saliency, placement, size, (x1 - x0, y1 - y0))
        heated[y0:y1, x0:x1] = _heat(plain[y0:y1, x0:x1], heat)
        if (x0, y0, x1, y1) != (0, 0, *shape):
            cv2.rectangle(heated, (x0, y0), (x1 - 1, y1 - 1), _FIELD, 1)
    gap = np.full((shape[1], _GAP, 3), _BACKGROUND, np.uint8)
    panels = np.hstack([plain, gap, heated])
    canvas_width = max(panels.shape[1] + 2 * _GAP, _NARROWEST)
    body = np.full((shape[1] + 2 * _GAP, canvas_width, 3), _BACKGROUND, np.uint8)
    left = (canvas_width - panels.shape[1]) // 2
    body[_GAP : _GAP + shape[1], left : left + panels.shape[1]] = panels
    return np.vstack([body, _caption(lines, canvas_width)])


def heated(square: Pixels, saliency: npt.NDArray[np.float32]) -> Picture:
    """Colour the square that a network sees by its map, as `overlay` colours the radiograph.

    Args:
        square: uint8 (S, S).
        saliency: float32 (h, w), not negative, over the same square.

    Returns:
        uint8 (S, S, 3), BGR.
    """
    size = len(square)
    whole = Placement(field=(0, 0, size, size), content=(0, 0, size, size))
    plain: Picture = cv2.cvtColor(square, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    return _heat(plain, _place(saliency, whole, size, (size, size)))


def to_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) or BGR (H, W, 3) as PNG; equal pixels give equal bytes.

    Raises:
        OrthoEdgeError: the array cannot be encoded.
    """
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise OrthoEdgeError(f"cannot encode {image.dtype} {image.shape} as PNG")
    return encoded.tobytes()


def _place(
    saliency: npt.NDArray[np.float32], placement: Placement, size: int, shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """The part of the map over the field, 0 to 1, as float32 of `shape` (width, height)."""
    # Scaled by the maximum of the whole square: where a network looks at the padding, the field
    # must come out cold, and not be stretched until something in it glows.
    peak = float(saliency.max())
    unit = saliency.astype(np.float32) / (peak if peak > 0 else 1.0)
    square = cv2.resize(unit, (size, size), interpolation=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = placement.content
    heat = cv2.resize(square[y0:y1, x0:x1], shape, interpolation=cv2.INTER_LINEAR)
    return np.clip(heat, 0, 1).astype(np.float32, copy=False)  # cubic overshoots


def _heat(panel: Picture, heat: npt.NDArray[np.float32]) -> Picture:
    """Colour `panel` by `heat` 0 to 1, and outline where it is at least one half."""
    result = _blend(panel, heat)
    inside = (heat >= 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = 2 if max(heat.shape) > 700 else 1
    cv2.drawContours(result, outlines, -1, _CONTOUR, thickness, cv2.LINE_AA)
    return result


def _blend(panel: Picture, heat: npt.NDArray[np.float32]) -> Picture:
    """Tint `panel`: nothing where `heat` is low, and the picture's own light and dark kept."""
    alpha = _OPAQUE * np.clip((heat - _CLEAR) / (1 - _CLEAR), 0, 1)[..., None] ** 0.7
    # A plain blend halves the contrast just where the reader wants to look, so the colour follows
    # the brightness under it; the constant part keeps it visible over black.
    tint = _colours(heat) * (0.25 + panel * np.float32(1 / 255))
    blended: Picture = np.rint(np.minimum(panel * (1 - alpha) + tint * alpha, 255)).astype(np.uint8)
    return blended


def _colours(heat: npt.NDArray[np.float32]) -> Picture:
    """BGR of values 0 to 1. Inferno's darkest third is left out: it would blacken the bone."""
    index = np.rint(80 + 160 * heat).astype(np.uint8)
    return cv2.applyColorMap(index, cv2.COLORMAP_INFERNO).astype(np.uint8, copy=False)


def _caption(lines: Sequence[str], width: int) -> Picture:
    """A strip `width` pixels wide with `lines` and the colour scale; as high as they need."""
    scale = min(max(width / 2000, 0.5), 0.9)
    step = round(34 * scale)
    margin = 2 * _GAP
    plain = [line.translate(_ASCII) for text in lines for line in text.split("\n")]
    safe = [line.encode("ascii", "replace").decode() for line in plain]
    rows = [row for line in safe for row in _wrap(line, scale, width - 2 * margin)]
    strip = np.full((step * (len(rows) + 1) + margin, width, 3), _BACKGROUND, np.uint8)
    for number, row in enumerate(rows, start=1):
        _write(strip, row, margin, step * number - step // 4, scale)
    base = step * (len(rows) + 1)
    _write(strip, "map: low", margin, base, scale)
    bar_x = margin + _width("map: low ", scale)
    ramp = np.tile(np.linspace(_CLEAR, 1, 6 * step, dtype=np.float32), (step // 2, 1))
    bar = _blend(np.full((*ramp.shape, 3), 128, np.uint8), ramp)
    strip[base - step // 2 : base - step // 2 + len(bar), bar_x : bar_x + bar.shape[1]] = bar
    legend = "high   outline: half of the maximum"
    _write(strip, legend, bar_x + bar.shape[1] + _GAP, base, scale)
    return strip


def _write(strip: Picture, text: str, x: int, y: int, scale: float) -> None:
    cv2.putText(strip, text, (x, y), _FONT, scale, _TEXT, 1, cv2.LINE_AA)


def _width(text: str, scale: float) -> int:
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    return width


def _wrap(line: str, scale: float, width: int) -> Iterator[str]:
    """Rows of at most `width` pixels, broken at spaces, or inside a word that fills a row."""
    row = ""
    for word in line.split(" "):
        joined = f"{row} {word}" if row else word
        if _width(joined, scale) <= width:
            row = joined
            continue
        if row:
            yield row
        while _width(word, scale) > width:
            cut = len(word) - 1
            while cut > 1 and _width(word[:cut], scale) > width:
                cut -= 1
            yield word[:cut]
            word = word[cut:]
        row = word
    yield row
