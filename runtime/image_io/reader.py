"""Reading an image file into a radiograph: uint8 (H, W), bone bright on dark.

The format is determined by the file's first bytes, never by its name. A truncated or damaged file
is refused: a decoder would fill the missing part with grey, which a network would take for anatomy.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.encoding import HEAD
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io import windowing
from orthoedge.runtime.image_io.decoder_messages import decode_checked
from orthoedge.runtime.image_io.headers import (
    check_complete,
    critical_chunks,
    read_header,
    recognize,
)
from orthoedge.runtime.image_io.memory import MIB, check_memory, picture_bytes
from orthoedge.runtime.image_io.radiograph import (
    MAX_PIXELS,
    Header,
    Radiograph,
    StoredValues,
    check_contrast,
    check_size,
    path_of,
)
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.settings import plain

MAX_BYTES = 512 * 2**20
"""Limit of a file's size."""

_COLOUR = 16  # of 255; JPEG rounds the chroma of a grey image by less than 4
_ROWS = 64  # of a colour image checked at once: whole planes would double the memory
_COLOURED_SHARE = 0.01  # a coloured side marker is small, a photograph is coloured everywhere
# libjpeg leaves blocks without data at DC 0. A file that was cut and closed with an end-of-image
# marker can be detected only by this: its last block is exactly this grey.
_JPEG_FILL = bytes((128,)) * 64
_ALPHA = ("alpha channel dropped",)


def __getattr__(name: str) -> Any:
    if name == "find_images":  # its former place
        from orthoedge.runtime.image_io.folder import find_images

        return find_images
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read_image(
    source: Path | str | bytes,
    *,
    prefer_photometric: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_mb: float | None = None,
    keep_stored: bool = False,
) -> Radiograph:
    """Read a radiograph from a PNG, JPEG, TIFF, BMP or DICOM file.

    Samples of more than 8 bits are windowed from percentile 0.5 to 99.5 unless the file has a
    window (DICOM) or is an 8-bit picture in a 16-bit container. The orientation in EXIF or TIFF is
    ignored: radiograph exports do not set it, and training must see the same pixels as inference.
    The resolution in PNG, JPEG, TIFF and BMP is for printing, so `spacing_mm` is None for them.
    A file is refused where its decoder complains about the pixels, even if it goes on.

    Args:
        source: a path, or the content of the file.
        prefer_photometric: DICOM only; ignore PresentationLUTShape, which some units set wrongly.
        max_pixels: largest rows × columns that is decoded; checked against the header.
        memory_mb: limit of the memory for reading in MiB, the bytes of the file included. The need
            is estimated from the header before decoding (`memory.py`).
        keep_stored: return the values before the conversion to 8 bits too, which takes 2 bytes per
            pixel more.

    Returns:
        The radiograph, uint8 (H, W).

    Raises:
        InputError: not a usable radiograph. The message is one line without the path, which the
            caller adds.
        MissingDependency: a DICOM file, and pydicom or its decoder is not installed.
    """
    try:
        return _read_image(source, prefer_photometric, max_pixels, memory_mb, keep_stored)
    except MemoryError as error:
        raise InputError("there is not enough memory to read it") from error
    except OSError as error:  # also in the middle of a file, on a disk that fails
        raise InputError.unreadable(error) from error


def _read_image(
    source: Path | str | bytes,
    prefer_photometric: bool,
    max_pixels: int,
    memory_mb: float | None,
    keep_stored: bool,
) -> Radiograph:
    largest = MAX_BYTES if memory_mb is None else int(min(MAX_BYTES, memory_mb * MIB))
    with _open(source) as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise InputError("empty file")
        if size > largest:
            raise InputError(f"file too large: {plain(size, 9)} bytes, limit {plain(largest, 9)}")
        if recognize(_fetch(file, 0, HEAD)) == "DICOM":
            from orthoedge.runtime.dicom.reader import read_dicom

            # The elements are read a few bytes at a time.
            with file if isinstance(file, io.BytesIO) else io.BufferedReader(file) as buffered:
                return read_dicom(
                    source if isinstance(source, bytes) else buffered,
                    prefer_photometric=prefer_photometric,
                    max_pixels=max_pixels,
                    memory_mb=memory_mb,
                    keep_stored=keep_stored,
                )
        data = source if isinstance(source, bytes) else _fetch(file, 0, size)
    header = read_header(data)
    check_size(header.width, header.height, max_pixels)
    if memory_mb is not None:
        check_memory(picture_bytes(header, len(data)), memory_mb)
    check_complete(data, header.kind)
    decoded, notes = _decode(data, header)
    grey, grey_notes = _to_grey(decoded, header.bits)
    notes += grey_notes
    if header.kind == "JPEG" and grey[-8:, -8:].tobytes() == _JPEG_FILL:
        raise InputError("damaged JPEG: the picture stops early and ends in flat grey")
    stored = None
    if decoded.dtype == np.uint16:
        pixels, window, note = _to_eight_bits(grey, header.bits)
        notes += (note,)
        if keep_stored:
            stored = StoredValues(np.ascontiguousarray(grey), header.bits, window)
    else:
        pixels = grey.astype(np.uint8, copy=False)
    check_contrast(pixels)
    return Radiograph(np.ascontiguousarray(pixels), header.bits, None, notes, stored=stored)


def _decode(data: bytes, header: Header) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Decode to uint8 or uint16, (H, W) or (H, W, 3 or 4) in the order of OpenCV, with notes."""
    if header.kind == "TIFF":
        from orthoedge.runtime.image_io.tiff.pixels import decode_tiff

        samples, has_alpha = decode_tiff(data)
        return samples, _ALPHA * has_alpha
    has_alpha = False
    if header.kind == "PNG":
        data, has_alpha = critical_chunks(data)
    encoded = np.frombuffer(data, np.uint8)
    try:
        if header.kind == "BMP":  # OpenCV's own decoder, which returns its errors
            decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        else:
            decoded = decode_checked(
                header.kind, lambda: cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
            )
    except cv2.error as error:
        raise InputError(f"damaged {header.kind}: it cannot be decoded") from error
    if decoded is None or decoded.size == 0:
        raise InputError(f"damaged {header.kind}: it cannot be decoded")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{header.kind} with {decoded.dtype} samples; expected 8 or 16 bits")
    return decoded, _ALPHA * has_alpha


def _open(source: Path | str | bytes) -> io.BytesIO | io.FileIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = path_of(source)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - half the time of pathlib's
        if stat.S_ISDIR(mode):
            os.scandir(path).close()  # raises for one that `find_images` could not look into
        if not stat.S_ISREG(mode):  # a pipe would block, a device never ends
            raise InputError("cannot read the file: it is a folder, a pipe or a device")
        return open(path, "rb", buffering=0)  # noqa: PTH123 - as above
    except FileNotFoundError as error:
        raise InputError("no such file") from error


def _fetch(file: io.BytesIO | io.FileIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _to_grey(decoded: npt.NDArray[Any], bits: int) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Convert (H, W) or (H, W, 1/3/4) as decoded to (H, W) of the same dtype, with notes."""
    if decoded.ndim == 2:
        return decoded, ()
    notes: tuple[str, ...] = ()
    if decoded.shape[2] in (2, 4):
        notes += _ALPHA
    if decoded.shape[2] < 3:
        return np.ascontiguousarray(decoded[..., 0]), notes
    limit = _COLOUR * max(1, (2**bits - 1) // 255)
    blocks = (decoded[start : start + _ROWS] for start in range(0, len(decoded), _ROWS))
    coloured = sum(_count_coloured(block, limit) for block in blocks)
    share = coloured / (decoded.shape[0] * decoded.shape[1])
    if share > _COLOURED_SHARE:
        raise InputError(
            f"colour image: the channels differ on {share:.0%} of the pixels; "
            "expected a grey radiograph"
        )
    # Equal channels come out unchanged: OpenCV's integer weights add up to exactly one.
    code = cv2.COLOR_BGR2GRAY if decoded.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    grey = cv2.cvtColor(decoded, code)
    note = "RGB file taken as grey"
    if share > 0:
        note += f"; {share:.2%} of the pixels are coloured"
    return grey, (*notes, note)


def _count_coloured(block: npt.NDArray[Any], limit: int) -> int:
    """Count the pixels of (rows, W, 3 or 4) whose channels differ by more than `limit`."""
    planes = cv2.split(block)[:3]
    high = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    low = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    return cv2.countNonZero(cv2.compare(cv2.subtract(high, low), limit, cv2.CMP_GT))  # type: ignore[call-overload]


def _to_eight_bits(grey: npt.NDArray[Any], bits: int) -> tuple[Pixels, tuple[float, float], str]:
    """Convert uint16 (H, W) of `bits` bits to uint8 (H, W), with black, white and a note."""
    # 10, 12 or 14 bits in a 16-bit container would be almost black with a plain shift by 8.
    values = np.arange(2**16, dtype=np.float64)
    counts = windowing.count_values(grey)
    if bits == 16 and np.all(np.flatnonzero(counts) % 257 == 0):
        low, high, note = 0.0, 65535.0, "16-bit file holds 8-bit values"
    else:
        low, high = windowing.robust_window(values, counts)
        note = f"{bits} bits windowed to 8 from {low:g} to {high:g} (percentiles 0.5 and 99.5)"
    table = windowing.to_eight_bits(values, low, high)
    return windowing.apply_table(grey, table), (low, high), note
