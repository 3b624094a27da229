"""Uncompressed DICOM samples, read in place from the caller's bytes or from the file.

A radiograph of 8 million pixels is 15 MB in its file. It is read a few rows at a time, so that the
whole is never in memory. The file is not memory-mapped: truncating it would then kill the process.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.codestream import STARTS, is_rle
from orthoedge.runtime.dicom.encoding import NATIVE, RLE, VRS
from orthoedge.runtime.dicom.header import SampleLayout
from orthoedge.runtime.errors import InputError

_ITEM = b"\xfe\xff\x00\xe0"
_MOST_FRAGMENTS = 100_000
# Samples of a block: they stay in a core's cache, and OpenCV looks more up in several threads.
_BLOCK = 2**18 - 1
_MOST_THREADS, _LEAST_BLOCKS = 4, 2  # of an image, and for each thread

Fetch = Callable[[int, int], npt.NDArray[Any]]
"""Returns the rows from `start` up to, not including, `stop`; the next call of the same thread may
overwrite them."""


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


def find_pixel_data(file: BinaryIO, is_little_endian: bool) -> PixelElement | None:
    """Return the PixelData at which the file stands, or None.

    The VR is taken as found: one element can be encoded differently from the others.
    """
    order = "<" if is_little_endian else ">"
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
    file: BinaryIO, element: PixelElement, layout: SampleLayout, syntax: str
) -> tuple[bytes | None, tuple[str, ...]]:
    """Read the frame; None for uncompressed samples that need not be read at once.

    A defined length means native samples, an undefined one fragments (PS3.5 A.4). Files that
    announce one and hold the other are read by what they hold, with a note.

    Args:
        file: the file.
        element: the value of PixelData.
        layout: of the samples.
        syntax: transfer syntax UID announced.

    Raises:
        InputError: neither, or the file ends inside the fragments.
    """
    native, expected = syntax in NATIVE, layout.size
    file.seek(element.at)
    if element.is_defined and native and element.length >= expected:
        if not element.has_words or layout.allocated != 8:
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


def is_native(frame: bytes, layout: SampleLayout, syntax: str) -> bool:
    """Return whether a frame holds uncompressed samples, at most padded to an even length."""
    compressed = frame.startswith(STARTS) or (syntax == RLE and is_rle(frame))
    return not compressed and len(frame) in (layout.size, layout.size + 1)


def check_excess(file: BinaryIO, element: PixelElement, layout: SampleLayout) -> tuple[str, ...]:
    """Check the bytes after the last sample of an uncompressed image, and return a note on them.

    Raises:
        InputError: a row or more that is not padding: rows, columns or bits are not as stated.
    """
    excess = element.length - layout.size
    if excess <= layout.size % 2:
        return ()
    if excess >= layout.line:
        file.seek(element.at + layout.size)
        if file.read(excess).strip(b"\0"):
            raise InputError(
                f"damaged DICOM: {element.length} bytes of pixels, expected {layout.size}: "
                "rows, columns or bits are not as its header says"
            )
    return (f"{excess} bytes after the last pixel were ignored",)


def native_samples(data: bytes, at: int, length: int, layout: SampleLayout) -> npt.NDArray[Any]:
    """View the uncompressed samples in `data`; unused bits are not cleared.

    Raises:
        InputError: fewer than rows × columns samples.
    """
    _check_length(min(length, len(data) - at), layout.size)
    samples = np.frombuffer(data, layout.dtype, layout.rows * layout.columns, at)
    # Samples of 16 bits at an odd offset are copied.
    native = np.require(samples, layout.dtype.newbyteorder("="), "A")
    return native.reshape(layout.rows, layout.columns)


def fetch_array(samples: npt.NDArray[Any]) -> Fetch:
    """Fetch rows from samples (H, W) in memory."""
    return lambda start, stop: samples[start:stop]


def fetch_file(file: BinaryIO, at: int, length: int, layout: SampleLayout) -> Fetch:
    """Fetch rows from a file in the layout of `native_samples`.

    Args:
        file: stays in use while rows are fetched.
        at: offset of the samples.
        length: stated length of the element in bytes.
        layout: of the samples.

    Raises:
        InputError: the file is too short or cannot be read; also raised while rows are fetched.
    """
    dtype = layout.dtype
    _check_length(min(length, file.seek(0, os.SEEK_END) - at), layout.size)
    buffers, reading = _Buffers(np.empty((0, layout.columns), dtype)), threading.Lock()

    def fetch(start: int, stop: int) -> npt.NDArray[Any]:
        if len(buffers.rows) < stop - start:
            buffers.rows = np.empty((stop - start, layout.columns), dtype)
        block = buffers.rows[: stop - start]
        try:
            with reading:
                file.seek(at + start * layout.line)
                count = file.readinto(block)  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError.unreadable(error) from error
        if count < block.nbytes:
            _check_length(start * layout.line + count, layout.size)
        return block.astype(dtype.newbyteorder("="), copy=False)

    return fetch


class _Buffers(threading.local):
    def __init__(self, rows: npt.NDArray[Any]) -> None:
        self.rows = rows


def each_block(convert: Callable[[slice], None], layout: SampleLayout) -> None:
    """Call `convert` for every block of rows, in as many threads as OpenCV may use.

    While one thread waits for the file, another one looks its samples up.

    Raises:
        Exception: the first that `convert` raised.
    """
    step = max(1, _BLOCK // layout.columns)
    starts = range(0, layout.rows, step)
    blocks = iter([slice(start, min(start + step, layout.rows)) for start in starts])
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for block in blocks:
                convert(block)
        except BaseException as error:  # also an interrupt, which the main thread gets
            failures.append(error)

    count = min(cv2.getNumThreads(), _MOST_THREADS, len(starts) // _LEAST_BLOCKS) - 1
    helpers: list[threading.Thread] = []
    with contextlib.suppress(RuntimeError):  # no more threads are allowed here
        while len(helpers) < count:
            helper = threading.Thread(target=work, name="orthoedge-dicom", daemon=True)
            helper.start()
            helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]


def _check_length(length: int, expected: int) -> None:
    if length < expected:
        raise InputError(f"truncated DICOM: {length} bytes of pixels, expected {expected}")
