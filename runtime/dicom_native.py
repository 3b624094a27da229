"""Uncompressed DICOM samples, used where they lie in the file: no copy of them is made."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Implicit and explicit VR little endian: the bytes of the file are the samples.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def find_pixel_data(data: bytes, at: int, dataset: Dataset) -> tuple[int, int]:
    """Where the value of PixelData begins, and its length; the element is at `at`, if anywhere."""
    layout = "<HHI" if dataset.original_encoding[0] else "<HH4xI"
    if data[at : at + 4] != b"\xe0\x7f\x10\x00":
        return 0, 0
    length = struct.unpack_from(layout, data, at)[2]
    return at + struct.calcsize(layout), length


def native_samples(data: bytes, at: int, length: int, dataset: Dataset) -> npt.NDArray[Any]:
    """Uncompressed little-endian samples as they lie in the file; unused bits are not cleared."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    size = int(dataset.BitsAllocated) // 8
    found = min(length, len(data) - at)
    if found < rows * columns * size:
        raise InputError(
            f"truncated DICOM: {found} bytes of pixels, expected {rows * columns * size}"
        )
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    samples = np.frombuffer(data, f"<{kind}{size}", rows * columns, at)
    samples = np.require(samples, f"={kind}{size}", "A")  # an odd place is no place for 16 bits
    return samples.reshape(rows, columns)
