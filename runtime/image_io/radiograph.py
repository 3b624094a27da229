"""A radiograph as every later stage takes it, and the checks that any reader of files makes."""

from __future__ import annotations

from dataclasses import dataclass

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.windowing import (
    SPARSE,
    Pixels,
)

MAX_PIXELS = 64_000_000
"""Default limit of rows × columns; the largest flat-panel detectors stay under 20 million."""
_SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Radiograph:
    """One radiograph as every later stage takes it."""

    pixels: Pixels
    """uint8 (H, W), bone bright on dark, C-contiguous."""
    source_bits: int
    """Bits per sample in the file, before the conversion to 8."""
    spacing_mm: tuple[float, float] | None
    """Millimetres between rows and between columns at the detector; None where not stated."""
    notes: tuple[str, ...]
    """What was done or found on the way, for the reader; never holds patient data."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a size in pixels, as stated by a header, that is too large or too small.

    Raises:
        InputError: over `max_pixels`, or a side under 32 pixels.
    """
    if width * height > max_pixels:
        raise InputError(
            f"image too large: {width}×{height} pixels in header, limit {max_pixels} in all"
        )
    if min(width, height) < _SMALLEST_SIDE:
        raise InputError(
            f"image too small: {width}×{height} pixels, at least {_SMALLEST_SIDE} a side"
        )


def check_contrast(pixels: Pixels) -> None:
    """Refuse uint8 (H, W) in which every pixel has one value.

    Raises:
        InputError: the image is constant.
    """
    for some in (pixels[::SPARSE, ::SPARSE], pixels):
        if some.min() != some.max():
            return
    raise InputError(f"no contrast: every pixel has the value {int(pixels.flat[0])}")
