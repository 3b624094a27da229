"""Uncompressed DICOM samples, read in place from the caller's bytes or from the file.

A radiograph of 8 million pixels is 15 MB in its file. It is read a few rows at a time, so that the
whole is never in memory. The file is not memory-mapped: truncating it would then kill the process.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.codestream import STARTS, is_rle
from orthoedge.runtime.dicom.encoding import NATIVE, RLE, VRS
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ITEM = b"\xfe\xff\x00\xe0"
_MOST_FRAGMENTS = 100_000

Fetch = Callable[[int, int], npt.NDArray[Any]]
"""Returns the rows from `start` up to, not including, `stop`; the next call may overwrite them."""


@dataclass(frozen=True)
class PixelElement:
    """The value of PixelData in the file."""

    at: int
    """Offset of its first byte."""
    length: int
    """In bytes; to the end of the file where the length is undefined."""
    is_defined: bool
    has_words: bool = False
    """Words of 16 bits in big-endian order, each of which may hold two samples."""


def find_pixel_data(file: BinaryIO, dataset: Dataset) -> PixelElement | None:
    """Return the PixelData at which the file stands, or None.

    The VR is taken as found: one element can be encoded differently from the others.
    """
    order = "<" if dataset.original_encoding[1] else ">"
    at = file.tell()
    head = file.read(12)
    if len(head) < 8 or head[:4] != struct.pack(order + "HH", 0x7FE0, 0x0010):
        return None
    vr = head[4:6]
    # As the length of an implicit VR these letters would be odd, which no value's is.
    start, kind = 4, "I"
    if vr in VRS and vr[0] % 2 and len(head) == 12:
        is_short = vr not in (b"OB", b"OW", b"UN") and any(head[6:8])
        start, kind = (6, "H") if is_short else (8, "I")
    (length,) = struct.unpack_from(order + kind, head, start)
    at += start + struct.calcsize(kind)
    if length == 2**32 - 1:
        return PixelElement(at, file.seek(0, os.SEEK_END) - at, False)
    return PixelElement(at, length, True, order == ">" and vr == b"OW")


def read_frame(
    file: BinaryIO, element: PixelElement, dataset: Dataset, syntax: str
) -> tuple[bytes | None, tuple[str, ...]]:
    """Read the frame; None for uncompressed samples that need not be read at once.

    A defined length means native samples, an undefined one fragments (PS3.5 A.4). Files that
    announce one and hold the other are read by what they hold, with a note.

    Args:
        file: the file.
        element: the value of PixelData.
        dataset: rows, columns and type of the samples.
        syntax: transfer syntax UID announced.

    Raises:
        InputError: neither, or the file ends inside the fragments.
    """
    native, expected = syntax in NATIVE, _sample_bytes(dataset)
    file.seek(element.at)
    if element.is_defined and native and element.length >= expected:
        if not element.has_words or int(dataset.BitsAllocated) != 8:
            return None, ()
        words = np.frombuffer(file.read(element.length // 2 * 2), np.uint16)
        return words.byteswap().tobytes(), ()
    start = file.read(8)
    if start.startswith(_ITEM):
        frame = _read_fragments(file, element)
        notes = ("the pixels are in fragments, but their length is defined",)
        return frame, notes if element.is_defined else ()
    if not element.is_defined:
        raise InputError("damaged DICOM: PixelData of undefined length without fragments")
    if start.startswith(STARTS):
        file.seek(element.at)
        return file.read(element.length), ("the compressed image is not in fragments",)
    if native or element.length in (expected, expected + 1):
        return None, () if native else ("the pixels are uncompressed, unlike the header says",)
    raise InputError(
        f"damaged DICOM: {element.length} bytes of pixels, neither compressed nor the "
        f"{expected} of rows × columns"
    )


def _read_fragments(file: BinaryIO, element: PixelElement) -> bytes:
    """Join the fragments of the only frame (PS3.5 A.4)."""
    at, end = element.at, element.at + element.length
    end = min(end, file.seek(0, os.SEEK_END))
    fragments: list[bytes] = []
    while at + 8 <= end and len(fragments) < _MOST_FRAGMENTS:
        file.seek(at)
        tag, length = struct.unpack("<4sI", file.read(8))
        if tag != _ITEM:  # the delimiter, or what follows where it is missing
            break
        if at + 8 + length > end:
            raise InputError("truncated DICOM: the file ends inside its compressed image")
        fragments.append(file.read(length))
        at += 8 + length
    if len(fragments) > 1 and not fragments[0].startswith(STARTS):
        del fragments[0]  # the offset table, which some programs fill with those of fragments
    frames = sum(part.startswith(STARTS) or is_rle(part) for part in fragments)
    if frames > 1:
        raise InputError(f"multi-frame DICOM with {frames} frames: expected one radiograph")
    return fragments[0] if len(fragments) == 1 else b"".join(fragments)


def is_native(frame: bytes, dataset: Dataset, syntax: str) -> bool:
    """Return whether a frame holds uncompressed samples, at most padded to an even length."""
    expected = _sample_bytes(dataset)
    compressed = frame.startswith(STARTS) or (syntax == RLE and is_rle(frame))
    return not compressed and len(frame) in (expected, expected + 1)


def check_excess(file: BinaryIO, element: PixelElement, dataset: Dataset) -> tuple[str, ...]:
    """Check the bytes after the last sample of an uncompressed image, and return a note on them.

    Raises:
        InputError: a row or more that is not padding: rows, columns or bits are not as stated.
    """
    rows, columns, dtype = _layout(dataset)
    line = columns * dtype.itemsize
    excess = element.length - rows * line
    if excess <= rows * line % 2:
        return ()
    if excess >= line:
        file.seek(element.at + rows * line)
        if file.read(excess).strip(b"\0"):
            raise InputError(
                f"damaged DICOM: {element.length} bytes of pixels, expected {rows * line}: "
                "rows, columns or bits are not as its header says"
            )
    return (f"{excess} bytes after the last pixel were ignored",)


def native_samples(data: bytes, at: int, length: int, dataset: Dataset) -> npt.NDArray[Any]:
    """View the uncompressed samples in `data`; unused bits are not cleared.

    Raises:
        InputError: fewer than rows × columns samples.
    """
    rows, columns, dtype = _layout(dataset)
    _check_length(min(length, len(data) - at), rows * columns * dtype.itemsize)
    samples = np.frombuffer(data, dtype, rows * columns, at)
    # Samples of 16 bits at an odd offset are copied.
    return np.require(samples, dtype.newbyteorder("="), "A").reshape(rows, columns)


def fetch_array(samples: npt.NDArray[Any]) -> Fetch:
    """Fetch rows from samples (H, W) in memory."""
    return lambda start, stop: samples[start:stop]


def fetch_file(file: BinaryIO, at: int, length: int, dataset: Dataset, most: int) -> Fetch:
    """Fetch rows from a file in the layout of `native_samples`.

    Args:
        file: stays in use while rows are fetched.
        at: offset of the samples.
        length: stated length of the element in bytes.
        dataset: rows, columns and type of the samples.
        most: largest number of rows fetched at once.

    Raises:
        InputError: the file is too short or cannot be read; also raised while rows are fetched.
    """
    rows, columns, dtype = _layout(dataset)
    line = columns * dtype.itemsize
    _check_length(min(length, file.seek(0, os.SEEK_END) - at), rows * line)
    buffer = np.empty((min(most, rows), columns), dtype)

    def fetch(start: int, stop: int) -> npt.NDArray[Any]:
        block = buffer[: stop - start]
        try:
            file.seek(at + start * line)
            count = file.readinto(block)  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError.unreadable(error) from error
        if count < block.nbytes:
            _check_length(start * line + count, rows * line)
        return block.astype(dtype.newbyteorder("="), copy=False)

    return fetch


def _layout(dataset: Dataset) -> tuple[int, int, np.dtype[Any]]:
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    order = "<" if dataset.original_encoding[1] else ">"
    dtype = np.dtype(f"{order}{kind}{int(dataset.BitsAllocated) // 8}")
    return int(dataset.Rows), int(dataset.Columns), dtype


def _sample_bytes(dataset: Dataset) -> int:
    rows, columns, dtype = _layout(dataset)
    return rows * columns * dtype.itemsize


def _check_length(length: int, expected: int) -> None:
    if length < expected:
        raise InputError(f"truncated DICOM: {length} bytes of pixels, expected {expected}")
