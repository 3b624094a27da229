"""What a file must be to count as a radiograph worth training on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.headers import check_complete, read_header
from orthoedge.runtime.image_io.radiograph import MAX_PIXELS, check_size
from orthoedge.runtime.image_io.reader import read_image

_DARK = 32  # of 255: under this, a JPEG's rounding alone gives a pixel any saturation


@dataclass(frozen=True)
class Limits:
    """What a radiograph must keep to; all limits are inclusive.

    The defaults pass all phantoms and all 789 radiographs of a set gathered from two public
    collections, whose extremes stand in brackets.
    """

    min_bytes: int = 1024
    """Smallest file [3,707]: a radiograph of 64 × 64 in a strong JPEG has over 1 KiB."""
    min_side: int = 64
    """Shorter side in pixels [132]; a thumbnail under this shows no fracture line."""
    max_aspect: float = 6.0
    """Longer side by the shorter one [3.9]: beyond it is a strip, a ruler or a banner."""
    channels: tuple[int, ...] = (1, 3, 4)
    """Channels as decoded: grey, or grey stored as RGB with or without alpha."""
    max_saturation: float = 0.15
    """Mean saturation, 0 to 1, of what is not dark [0]: a tinted film has 0.1, a photograph 0.3."""
    min_mean: float = 5.0
    """Mean grey, 0 to 255 [14]: darker is an exposure that failed or a film that is not there."""
    max_mean: float = 230.0
    """Mean grey, 0 to 255 [149]: brighter is a page of text or an unexposed film."""
    min_deviation: float = 6.0
    """Standard deviation of grey [15]: under this the frame is flat."""


@dataclass(frozen=True)
class Flaw:
    """Why a file is no usable radiograph."""

    reason: str
    """unreadable, bytes, resolution, aspect ratio, channels, saturation or brightness."""
    detail: str
    """What was found, and the limit."""


def examine(data: bytes, limits: Limits) -> tuple[npt.NDArray[np.uint8] | None, Flaw | None]:
    """Decode a file and hold it against the limits.

    Args:
        data: content of the file.
        limits: what is asked of it.

    Returns:
        The radiograph as training reads it, uint8 (H, W), and None; or None and the flaw.
    """
    if len(data) < limits.min_bytes:
        return None, Flaw("bytes", f"{len(data)} bytes, at least {limits.min_bytes}")
    # Before the intake, which turns grey and gives a coloured picture no other name.
    flaw = _colour(data, limits)
    if flaw is not None:
        return None, flaw
    try:
        pixels = read_image(data).pixels
    except InputError as error:
        return None, Flaw("unreadable", str(error))
    height, width = pixels.shape
    if min(height, width) < limits.min_side:
        told = f"{width} × {height}, at least {limits.min_side} a side"
        return None, Flaw("resolution", told)
    if max(height, width) > limits.max_aspect * min(height, width):
        told = f"{width} × {height}, at most 1 to {limits.max_aspect:g}"
        return None, Flaw("aspect ratio", told)
    mean, deviation = float(pixels.mean()), float(pixels.std())
    if not limits.min_mean <= mean <= limits.max_mean:
        told = f"mean {mean:.0f}, not {limits.min_mean:g} to {limits.max_mean:g}"
        return None, Flaw("brightness", told)
    if deviation < limits.min_deviation:
        told = f"flat: deviation {deviation:.1f}, at least {limits.min_deviation:g}"
        return None, Flaw("brightness", told)
    return pixels, None


def decode(data: bytes, mode: int) -> npt.NDArray[Any] | None:
    """The picture as OpenCV decodes it, in any colours; None for DICOM or a damaged file.

    A file that is cut never reaches the decoder, which would write to stderr.
    """
    try:
        header = read_header(data)
        check_size(header.width, header.height, MAX_PIXELS)
        check_complete(data, header.kind)
        return cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except (InputError, cv2.error):
        return None


def _colour(data: bytes, limits: Limits) -> Flaw | None:
    """The flaw in a file's channels, if any; a file that does not decode has none here."""
    decoded = decode(data, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        return None
    channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    if channels not in limits.channels:
        return Flaw("channels", f"{channels} channels, expected one of {list(limits.channels)}")
    if channels == 1:
        return None
    # A quarter of the size tells the mean as well, and saves most of the time.
    small = cv2.resize(decoded, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)[..., :3]
    high, low = small.max(2).astype(np.float64), small.min(2).astype(np.float64)
    lit = high >= _DARK * (257 if decoded.dtype == np.uint16 else 1)
    saturation = float(np.mean(1 - low[lit] / high[lit])) if lit.any() else 0.0
    if saturation > limits.max_saturation:
        told = f"mean {saturation:.2f}, at most {limits.max_saturation:g}"
        return Flaw("saturation", told)
    return None
