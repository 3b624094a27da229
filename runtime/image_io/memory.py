"""Upper bound of the memory needed to read a file, estimated from its header.

Decoders allocate in C, where Python cannot measure them. The factors come from the measured growth
of processes, file by file (tests/runtime/image_io/test_reading_memory.py).
"""

from __future__ import annotations

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import Header
from orthoedge.runtime.settings import plain

MIB = 2**20

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
    if header.kind == "TIFF":  # strips are copied, decompressed and converted
        extra = file_bytes + picture + 3 * header.block * depth
    # OpenCV frees the decoder's memory before it returns a copy of the picture; no later step needs
    # as much.
    return file_bytes + picture + max(picture, extra) + _TABLES


def dicom_bytes(pixels: int, allocated: int, held: int, codec: str | None) -> int:
    """Return the upper bound for a DICOM file in bytes, its content in memory included.

    Args:
        pixels: rows × columns.
        allocated: bits allocated, 8 or 16.
        held: bytes of the file that are in memory: its compressed pixels, or the whole file.
        codec: of the codestream (`dicom.codestream`); None for uncompressed samples.
    """
    samples = pixels * (allocated // 8)
    if codec is None:  # read a few rows at a time
        return held + pixels + _TABLES
    if codec in ("JPEG 2000", "HTJ2K"):  # decoded in 32 bits
        return 4 * held + 8 * samples + _TABLES
    return 3 * held + 5 * samples + _TABLES
