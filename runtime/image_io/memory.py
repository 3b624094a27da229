"""How much memory reading a file will take, from its header: an upper bound.

Decoders allocate in C, where Python cannot ask them. The factors are those that the growth of a
process was found to stay below, file by file (tests/runtime/image_io/test_reading_memory.py).
"""

from __future__ import annotations

from orthoedge.runtime.dicom.pixel_data import NATIVE
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import Header

MIB = 2**20

_JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_TABLES = 8 * MIB  # look-up tables and histograms of 16 bits, and what a decoder sets up


def check_memory(needed: int, memory_mb: float) -> None:
    """Raise unless `needed` bytes stay within `memory_mb` MiB.

    Raises:
        InputError: with both figures.
    """
    if needed > memory_mb * MIB:
        raise InputError(
            f"image too large: reading it takes up to {needed / MIB:.0f} MiB, limit {memory_mb:g}"
        )


def picture_bytes(header: Header, file_bytes: int) -> int:
    """Upper bound for a PNG, JPEG, TIFF or BMP file, in bytes, with those of the file."""
    depth = next(size for size in (1, 2, 4, 8) if header.bits <= 8 * size or size == 8)
    picture = header.width * header.height * header.channels * depth
    beside = 0
    if header.kind == "JPEG":
        beside = header.block * header.channels * 2  # coefficients of 16 bits
    if header.kind == "TIFF":  # to 8 bits libtiff goes by way of RGBA
        beside = header.block * (4 if depth == 1 else header.channels * depth) + file_bytes
    # The decoder's own memory is free again when OpenCV hands out a copy of the picture. Nothing
    # that is done to it later needs as much.
    return file_bytes + picture + max(picture, beside) + _TABLES


def dicom_bytes(pixels: int, allocated: int, held: int, syntax: str) -> int:
    """Upper bound for a DICOM file, in bytes, with those of it that are in memory.

    Args:
        pixels: rows × columns.
        allocated: bits allocated, 8 or 16.
        held: bytes of the file that are in memory: its compressed pixels, or all of it.
        syntax: transfer syntax UID.
    """
    samples = pixels * (allocated // 8)
    if syntax in NATIVE:  # fetched a few rows at a time
        return held + pixels + _TABLES
    if syntax.startswith(_JPEG_2000):  # decoded in 32 bits
        return 4 * held + 8 * samples + _TABLES
    return 3 * held + 6 * samples + _TABLES
