"""Uncompressed DICOM samples, used where they lie: in the caller's bytes, or in the file.

A radiograph of 8 million pixels is 15 MB in its file. It is fetched a few rows at a time, so that
nobody needs memory for the whole.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


# Implicit and explicit VR little endian: the bytes of the file are the samples.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")

Fetch = Callable[[int, int], npt.NDArray[Any]]
"""Rows from the first number to before the second; the next call may overwrite them."""


def find_pixel_data(file: BinaryIO, dataset: Dataset) -> tuple[int, int]:
    """Where the value of PixelData begins, and its length; the file is at the element, if any."""
    layout = "<HHI" if dataset.original_encoding[0] else "<HH4xI"
    at, size = file.tell(), struct.calcsize(layout)
    head = file.read(size)
    if len(head) < size or not head.startswith(b"\xe0\x7f\x10\x00"):
        return 0, 0
    return at + size, struct.unpack(layout, head)[-1]


def native_samples(data: bytes, at: int, length: int, dataset: Dataset) -> npt.NDArray[Any]:
    """Uncompressed little-endian samples as they lie in `data`; unused bits are not cleared.

    Raises:
        InputError: there are fewer than rows × columns.
    """
    rows, columns, dtype = _layout(dataset)
    _check_length(min(length, len(data) - at), rows * columns * dtype.itemsize)
    samples = np.frombuffer(data, dtype, rows * columns, at)
    # An odd place is no place for 16 bits.
    return np.require(samples, dtype.newbyteorder("="), "A").reshape(rows, columns)


def fetch_held(samples: npt.NDArray[Any]) -> Fetch:
    """From samples (H, W) that are in memory."""
    return lambda start, stop: samples[start:stop]


def fetch_from(file: BinaryIO, at: int, length: int, dataset: Dataset, most: int) -> Fetch:
    """From a file in which they are as `native_samples` has them.

    Args:
        file: is read from as long as rows are fetched.
        at: where they begin.
        length: how many bytes the element says it has.
        dataset: rows, columns and kind of the samples.
        most: rows that are fetched at once.

    Raises:
        InputError: the file ends before they do, or cannot be read; while they are fetched, too.
    """
    rows, columns, dtype = _layout(dataset)
    line = columns * dtype.itemsize
    _check_length(min(length, file.seek(0, os.SEEK_END) - at), rows * line)
    buffer = np.empty((min(most, rows), columns), dtype)

    def fetch(start: int, stop: int) -> npt.NDArray[Any]:
        block = buffer[: stop - start]
        try:
            file.seek(at + start * line)
            found = file.readinto(block)  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError.unreadable(error) from error
        if found < block.nbytes:
            _check_length(start * line + found, rows * line)
        return block.astype(dtype.newbyteorder("="), copy=False)

    return fetch


def _layout(dataset: Dataset) -> tuple[int, int, np.dtype[Any]]:
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    dtype = np.dtype(f"<{kind}{int(dataset.BitsAllocated) // 8}")
    return int(dataset.Rows), int(dataset.Columns), dtype


def _check_length(found: int, expected: int) -> None:
    if found < expected:
        raise InputError(f"truncated DICOM: {found} bytes of pixels, expected {expected}")
