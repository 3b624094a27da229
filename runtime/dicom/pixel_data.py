"""Uncompressed DICOM samples, read in place from the caller's bytes or from the file.

A radiograph of 8 million pixels is 15 MB in its file. It is read a few rows at a time, so that the
whole is never in memory. The file is not memory-mapped: truncating it would then kill the process.
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

# Implicit and explicit VR little endian: the samples are stored uncompressed.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")

Fetch = Callable[[int, int], npt.NDArray[Any]]
"""Returns the rows from `start` up to, not including, `stop`; the next call may overwrite them."""


def find_pixel_data(file: BinaryIO, dataset: Dataset) -> tuple[int, int]:
    """Return offset and length of the value of PixelData, at which the file stands; or 0, 0."""
    layout = "<HHI" if dataset.original_encoding[0] else "<HH4xI"
    at, size = file.tell(), struct.calcsize(layout)
    head = file.read(size)
    if len(head) < size or not head.startswith(b"\xe0\x7f\x10\x00"):
        return 0, 0
    return at + size, struct.unpack(layout, head)[-1]


def native_samples(data: bytes, at: int, length: int, dataset: Dataset) -> npt.NDArray[Any]:
    """View the uncompressed little-endian samples in `data`; unused bits are not cleared.

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
    dtype = np.dtype(f"<{kind}{int(dataset.BitsAllocated) // 8}")
    return int(dataset.Rows), int(dataset.Columns), dtype


def _check_length(length: int, expected: int) -> None:
    if length < expected:
        raise InputError(f"truncated DICOM: {length} bytes of pixels, expected {expected}")
