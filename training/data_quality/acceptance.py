"""Acceptance criteria: which files are radiographs that are fit for training."""

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
from orthoedge.runtime.settings import plain

_DARK = 32  # of 255: under this, a JPEG's rounding alone gives a pixel any saturation


@dataclass(frozen=True)
class AcceptanceLimits:
    """Limits that a radiograph must meet; all are inclusive.

    The defaults accept all phantoms and all 789 radiographs of a set from two public collections;
    the extremes of that set are in brackets.
    """

    min_bytes: int = 1024
    """Smallest file [3,707]: even a radiograph of 64 × 64 as a strong JPEG is larger than 1 KiB."""
    min_side: int = 64
    """Shorter side in pixels [132]; a thumbnail under this shows no fracture line."""
    max_aspect: float = 6.0
    """Longer side divided by the shorter one [3.9]; beyond it are strips, rulers and banners."""
    channels: tuple[int, ...] = (1, 3, 4)
    """Channels as decoded: grey, or grey stored as RGB with or without alpha."""
    max_saturation: float = 0.15
    """Mean saturation, 0 to 1, of what is not dark [0]: a tinted film has 0.1, a photograph 0.3."""
    min_mean: float = 5.0
    """Mean grey, 0 to 255 [14]: darker is a failed exposure or a missing film."""
    max_mean: float = 230.0
    """Mean grey, 0 to 255 [149]: brighter is a page of text or an unexposed film."""
    min_deviation: float = 6.0
    """Standard deviation of grey [15]: under this the frame is flat."""


@dataclass(frozen=True)
class Rejection:
    """Reason for the rejection of a file."""

    reason: str
    """unreadable, bytes, resolution, aspect ratio, channels, saturation or brightness."""
    detail: str
    """The measured value and the limit."""


def check_radiograph(
    data: bytes, limits: AcceptanceLimits
) -> tuple[npt.NDArray[np.uint8] | None, Rejection | None]:
    """Decode a file and check it against the limits.

    Args:
        data: content of the file.
        limits: the acceptance criteria.

    Returns:
        The radiograph as training reads it, uint8 (H, W), and None; or None and the reason.
    """
    if len(data) < limits.min_bytes:
        return None, Rejection("bytes", f"{len(data)} bytes, at least {limits.min_bytes}")
    # On the raw file: `read_image` converts to grey, which would hide a colour photograph.
    if (rejection := _check_colour(data, limits)) is not None:
        return None, rejection
    try:
        pixels = read_image(data).pixels
    except InputError as error:
        return None, Rejection("unreadable", str(error))
    height, width = pixels.shape
    if min(height, width) < limits.min_side:
        detail = f"{width} × {height}, at least {limits.min_side} a side"
        return None, Rejection("resolution", detail)
    if max(height, width) > limits.max_aspect * min(height, width):
        detail = f"{width} × {height}, at most 1 to {plain(limits.max_aspect)}"
        return None, Rejection("aspect ratio", detail)
    mean, deviation = float(pixels.mean()), float(pixels.std())
    if not limits.min_mean <= mean <= limits.max_mean:
        detail = f"mean {mean:.0f}, not {plain(limits.min_mean)} to {plain(limits.max_mean)}"
        return None, Rejection("brightness", detail)
    if deviation < limits.min_deviation:
        detail = f"flat: deviation {deviation:.1f}, at least {plain(limits.min_deviation)}"
        return None, Rejection("brightness", detail)
    return pixels, None


def decode(data: bytes, mode: int) -> npt.NDArray[Any] | None:
    """Decode a picture with OpenCV, in any colours; None for DICOM or a damaged file.

    A truncated file never reaches the decoder, which would write to stderr.
    """
    try:
        header = read_header(data)
        check_size(header.width, header.height, MAX_PIXELS)
        check_complete(data, header.kind)
        return cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except (InputError, cv2.error):
        return None


def _check_colour(data: bytes, limits: AcceptanceLimits) -> Rejection | None:
    """Check channels and saturation; None where they pass or the file cannot be decoded here."""
    decoded = decode(data, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        return None
    channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    if channels not in limits.channels:
        detail = f"{channels} channels, expected one of {list(limits.channels)}"
        return Rejection("channels", detail)
    if channels == 1:
        return None
    # A quarter of the size gives the same mean in a fraction of the time.
    small = cv2.resize(decoded, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)[..., :3]
    high, low = small.max(2).astype(np.float64), small.min(2).astype(np.float64)
    lit = high >= _DARK * (257 if decoded.dtype == np.uint16 else 1)
    saturation = float(np.mean(1 - low[lit] / high[lit])) if lit.any() else 0.0
    if saturation > limits.max_saturation:
        detail = f"mean {saturation:.2f}, at most {plain(limits.max_saturation)}"
        return Rejection("saturation", detail)
    return None
