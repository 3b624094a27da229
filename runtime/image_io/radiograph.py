"""A decoded radiograph, the header of an image file, and the checks that every reader makes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.windowing import SPARSE, Pixels
from orthoedge.runtime.settings import plain

MAX_PIXELS = 64_000_000
"""Default limit of rows × columns; the largest flat-panel detectors stay under 20 million."""
_SMALLEST_SIDE = 32
_COARSE = 128  # of the first sample, which tells most images from a blank one

Plane = Literal["detector", "patient"]
"""Where a spacing was measured: at the detector or film, or inside the patient."""


@dataclass(frozen=True)
class StoredValues:
    """A radiograph before the conversion to 8 bits, for a viewer with a window of its own."""

    samples: npt.NDArray[np.uint16]
    """uint16 (H, W), bone bright on dark, C-contiguous; the lowest possible value is 0."""
    bits: int
    """Bits of the highest possible value."""
    window: tuple[float, float]
    """The samples that are black and white in the 8-bit pixels, as near as a line comes to it."""


@dataclass(frozen=True)
class ReasonId:
    """What identifies a reason, so that its sentence can be said in another language."""

    id: str = ""
    """Stays the same when the English sentence is reworded; empty for a reason without one."""
    values: dict[str, str | float] = field(default_factory=dict)
    """Numbers and names in the sentence; a share of the picture is from 0 to 1."""


@dataclass(frozen=True)
class Radiograph:
    """A decoded radiograph, the input of every later stage."""

    pixels: Pixels
    """uint8 (H, W), bone bright on dark, C-contiguous."""
    source_bits: int
    """Bits per sample in the file, before the conversion to 8."""
    spacing_mm: tuple[float, float] | None
    """Millimetres between rows and between columns; None where not stated."""
    notes: tuple[str, ...]
    """Remarks of the reader, such as the window used; never patient data."""
    spacing_plane: Plane | None = None
    """Where `spacing_mm` was measured; None where that cannot be determined."""
    refer_reasons: tuple[str, ...] = ()
    """Why a finding on it is at best `refer`; empty where nothing speaks against `report`."""
    refer_reason_ids: tuple[ReasonId, ...] = ()
    """Identifiers of `refer_reasons`, in the same order; a reader may leave them out."""
    stored: StoredValues | None = None
    """What `pixels` were made of; None unless it was asked for, and for a file of 8 bits."""


MAX_CHANNELS = 4
"""Of an image file: RGB and alpha."""


@dataclass(frozen=True)
class Header:
    """Size and sample format of an image file, as stated in its header."""

    kind: str
    """`PNG`, `JPEG`, `TIFF` or `BMP`; inside DICOM `JPEG` or `JPEG 2000`."""
    width: int
    """Columns, in pixels."""
    height: int
    """Rows, in pixels."""
    bits: int
    """Bits per sample."""
    channels: int = 1
    """Channels of what OpenCV decodes, or more; inside DICOM the components stated."""
    block: int = 0
    """What the decoder holds in addition to the picture: the pixels of a JPEG in several scans, the
    samples of a TIFF's strip or tile that is decompressed."""


def path_of(source: Any) -> Path:
    """Return the path that a reader was given.

    Raises:
        InputError: it is nothing that names a file.
    """
    try:
        path = source if isinstance(source, Path) else Path(source)
        if not os.fspath(source):
            raise InputError("the path is empty")
        if b"\0" in os.fsencode(path):
            raise InputError("a path cannot contain a NUL character")
    except InputError:
        raise
    except ValueError as error:
        raise InputError("the path has characters that no file name here can have") from error
    except Exception as error:  # TypeError, or whatever an `__fspath__` raises
        kind = type(source).__name__
        raise InputError(f"expected a path or the bytes of a file, got {kind}") from error
    return path


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise InputError for a header of over `max_pixels`, or of a side under 32 pixels."""
    if width * height > max_pixels:
        raise InputError(
            f"image too large: {width}×{height} pixels in header, limit {plain(max_pixels)} in all"
        )
    if min(width, height) < _SMALLEST_SIDE:
        raise InputError(
            f"image too small: {width}×{height} pixels, at least {_SMALLEST_SIDE} a side"
        )


def check_contrast(pixels: Pixels) -> None:
    """Raise InputError if all pixels, uint8 (H, W), have one value."""
    for sample in (pixels[::_COARSE, ::_COARSE], pixels[::SPARSE, ::SPARSE], pixels):
        if sample.min() != sample.max():
            return
    raise InputError(f"no contrast: every pixel has the value {int(pixels.flat[0])}")
