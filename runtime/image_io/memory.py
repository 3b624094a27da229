"""Upper bound of the memory needed to read a file, estimated from its header.

Decoders allocate in C, where Python cannot measure them. The factors come from the measured growth
of processes, file by file (tests/runtime/image_io/test_reading_memory.py).
"""

from __future__ import annotations

from orthoedge.runtime.dicom.pixel_data import NATIVE
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import Header
from orthoedge.runtime.settings import plain

MIB = 2**20

_JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_TABLES = 8 * MIB  # look-up tables and histograms of 16 bits, and a decoder's own state


def check_memory(needed: int, memory_mb: float) -> None:
    """Raise InputError unless `needed` bytes are within `memory_mb` MiB."""
    if needed > memory_mb * MIB:
        raise InputError(
            f"image too large: reading it takes up to {needed / MIB:.0f} MiB, "
            f"limit {plain(memory_mb)}"
        )


def picture_bytes(header: Header, file_bytes: int) -> int:
    """Return the upper bound for a PNG, JPEG, TIFF or BMP file in bytes, its own included."""
    depth = next(size for size in (1, 2, 4, 8) if header.bits <= 8 * size or size == 8)
    picture = header.width * header.height * header.channels * depth
    extra = 0
    if header.kind == "JPEG":
        extra = header.block * header.channels * 2  # coefficients of 16 bits
    if header.kind == "TIFF":  # libtiff decodes 8 bits by way of RGBA
        extra = header.block * (4 if depth == 1 else header.channels * depth) + file_bytes
    # OpenCV frees the decoder's memory before it returns a copy of the picture; no later step needs
    # as much.
    return file_bytes + picture + max(picture, extra) + _TABLES


def dicom_bytes(pixels: int, allocated: int, held: int, syntax: str) -> int:
    """Return the upper bound for a DICOM file in bytes, its content in memory included.

    Args:
        pixels: rows × columns.
        allocated: bits allocated, 8 or 16.
        held: bytes of the file that are in memory: its compressed pixels, or the whole file.
        syntax: transfer syntax UID.
    """
    samples = pixels * (allocated // 8)
    if syntax in NATIVE:  # read a few rows at a time
        return held + pixels + _TABLES
    if syntax.startswith(_JPEG_2000):  # decoded in 32 bits
        return 4 * held + 8 * samples + _TABLES
    return 3 * held + 6 * samples + _TABLES
