"""Headers of image files, read and checked before anything is decoded.

A header of a few bytes can make a decoder allocate gigabytes, and decoders fill the missing part of
a truncated file with grey and report success. So size and completeness are checked first. JPEG and
TIFF are in files of their own. PNG: W3C PNG 3rd edition; BMP: wingdi.h.
"""

from __future__ import annotations

import struct
import zlib

from orthoedge.runtime.dicom.encoding import find_elements
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.jpeg import check_jpeg, jpeg_header
from orthoedge.runtime.image_io.radiograph import Header

_MOST_CHUNKS = 100_000  # of a PNG; 512 MB in the usual chunks of 8 KB are 65,536
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
)
_BMP_MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)  # of red, green and blue
_UNSUPPORTED = (
    (b"GIF8", "a GIF file"),
    (b"%PDF", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x00\x00\x00\x0cjP  ", "a bare JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 codestream"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL codestream"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"II+\x00", "a BigTIFF file"),
    (b"MM\x00+", "a BigTIFF file"),
)


def recognize(head: bytes) -> str | None:
    """Return the format of an image file by its content: PNG, JPEG, TIFF, BMP, DICOM, or None.

    Args:
        head: the first 264 bytes of the file, or all of a shorter one.
    """
    if head[128:132] == b"DICM":  # a TIFF may be a DICOM file's preamble (PS3.10 7.1)
        return "DICOM"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return None if find_elements(head) is None else "DICOM"


def read_header(data: bytes) -> Header:
    """Read the header of a PNG, JPEG, TIFF or BMP file, recognized by its first bytes.

    Raises:
        InputError: a different kind of file, or a header that is damaged or impossible.
    """
    readers = {"PNG": _png_header, "JPEG": jpeg_header, "TIFF": _tiff_header, "BMP": _bmp_header}
    reader = next((readers[kind] for magic, kind in _MAGIC if data.startswith(magic)), None)
    if reader is None:
        kinds = (name for magic, name in _UNSUPPORTED if data.startswith(magic))
        kind = next(kinds, "unknown content")
        if data[4:8] == b"ftyp":  # ISO/IEC 14496-12
            kind = "a HEIC, AVIF or video file"
        raise InputError(f"not an image: {kind}; expected PNG, JPEG, TIFF, BMP or DICOM")
    try:
        header = reader(data)
    except (struct.error, IndexError) as error:
        raise InputError("truncated file: it ends inside its header") from error
    if header.width < 1 or header.height < 1:
        raise InputError(f"damaged {header.kind}: size {header.width}×{header.height} in header")
    return header


def check_complete(data: bytes, kind: str) -> None:
    """Check that a file of a kind that `read_header` returned is complete.

    PNG: every chunk is present up to IEND, and the checksums of critical chunks are right. JPEG:
    every scan ends in a marker, the last in EOI, and a progressive file has all its scans; bytes
    after EOI are allowed. TIFF: every strip or tile lies inside the file. BMP: all rows are there.

    Raises:
        InputError: the file is truncated or damaged.
    """
    try:
        {"PNG": _check_png, "JPEG": check_jpeg, "TIFF": _check_tiff, "BMP": _check_bmp}[kind](data)
    except (struct.error, IndexError) as error:
        raise InputError(f"truncated {kind}: the file ends too early") from error


def _tiff_header(data: bytes) -> Header:
    from orthoedge.runtime.image_io.tiff.header import tiff_header

    return tiff_header(data)


def _check_tiff(data: bytes) -> None:
    from orthoedge.runtime.image_io.tiff.header import check_tiff

    check_tiff(data)


def _png_header(data: bytes) -> Header:
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if name == b"CgBI":
        raise InputError("PNG of Apple's own kind (CgBI), which is not read; save it as PNG anew")
    if name != b"IHDR" or length != 13:
        raise InputError("damaged PNG: no IHDR chunk at the start")
    return Header("PNG", width, height, bits, channels=1 if colour == 0 else 4)


def _check_png(data: bytes) -> None:
    at, has_pixels, view = 8, False, memoryview(data)
    for _ in range(_MOST_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise InputError("truncated PNG: the file ends inside a chunk")
        # Bit 5 of the first letter marks a chunk that a decoder may skip; damage there is harmless.
        if not name[0] & 0x20:
            (stated,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[at + 4 : end - 4]) != stated:
                raise InputError("damaged PNG: checksum mismatch")
        if name == b"acTL":
            raise InputError("animated PNG; expected one radiograph per file")
        has_pixels = has_pixels or name == b"IDAT"
        if name == b"IEND":
            if not has_pixels:
                raise InputError("damaged PNG: no pixel data")
            return
        at = end
    raise InputError(f"damaged PNG: more than {_MOST_CHUNKS} chunks")


def _bmp_fields(data: bytes) -> tuple[int, int, int, int, int]:
    """Offset of the pixels, width, height, bits per pixel, compression."""
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        return start, width, height, bits, 0
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    return start, width, abs(height), bits, compression


def _bmp_header(data: bytes) -> Header:
    _, width, height, bits, compression = _bmp_fields(data)
    if compression not in (0, 3, 6):  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS
        raise InputError("BMP with compressed rows, whose end cannot be checked; save it as PNG")
    return Header("BMP", width, height, bits if bits < 8 else 8, channels=3 if bits < 32 else 4)


def _check_bmp(data: bytes) -> None:
    start, width, height, bits, compression = _bmp_fields(data)
    # OpenCV leaves 5 bits as 0 to 248, and turns 24 bits with the header of OS/2 into grey.
    is_odd = bits not in (1, 4, 8, 24, 32) or (bits > 8 and data[14] == 12)
    if is_odd or (compression and (bits != 32 or data[54:66] != _BMP_MASKS)):
        raise InputError(f"BMP with an unusual layout of {bits} bits per pixel; save it as PNG")
    rows = (width * bits + 31) // 32 * 4 * height
    if start + rows > len(data):
        raise InputError("truncated BMP: the file ends inside its pixel data")


def critical_chunks(data: bytes) -> tuple[bytes, bool]:
    """Keep of a PNG file what its samples follow from; without more, return the same object.

    libpng complains about damage in other chunks, such as texts and colour profiles, as it does
    about damage in the pixels.

    Args:
        data: a PNG file whose chunks all lie inside it.

    Returns:
        The file, and whether it said which samples are transparent.
    """
    parts: list[bytes] = []
    start, at, name, is_transparent = 0, 8, b"", False
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if name[0] & 0x20:
            is_transparent = is_transparent or name == b"tRNS"
            parts.append(data[start:at])
            start = end
        at = end
    return (b"".join((*parts, data[start:at])) if parts else data), is_transparent
