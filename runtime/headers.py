"""What an image file says about itself, read from its bytes before anything is decoded.

Two reasons to read it here: a header of a few bytes can ask a decoder for gigabytes, and decoders
fill what a cut file lacks with grey and report success. So the size and the completeness of the
file are settled first. PNG: W3C PNG 3rd edition; JPEG: ITU-T T.81 annex B; TIFF 6.0; BMP: wingdi.h.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.jpeg_markers import FRAMES, jpeg_segments


@dataclass(frozen=True)
class Header:
    """Size and sample format of an image file, as its header states them."""

    kind: str
    """`PNG`, `JPEG`, `TIFF` or `BMP`."""
    width: int
    """Columns, in pixels."""
    height: int
    """Rows, in pixels."""
    bits: int
    """Bits per sample."""
    inverted: bool = False
    """TIFF WhiteIsZero: the smallest value is white."""
    channels: int = 1
    """Channels of what OpenCV decodes, or more."""
    block: int = 0
    """Pixels that the decoder holds beside the picture: a TIFF's strip or tile, all of a JPEG in
    several scans."""


_KNOWN_BUT_UNREAD = (
    (b"GIF8", "a GIF file"),
    (b"%PDF", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x00\x00\x00\x0cjP  ", "a bare JPEG 2000 file"),
    (b"II+\x00", "a BigTIFF file"),
    (b"MM\x00+", "a BigTIFF file"),
)


def read_header(data: bytes) -> Header:
    """Read the header of a PNG, JPEG, TIFF or BMP file, decided by its first bytes.

    Raises:
        InputError: another kind of file, or a header that is damaged or says something impossible.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png_header(data)
        elif data.startswith(b"\xff\xd8\xff"):
            header = _jpeg_header(data)
        elif data.startswith((b"II*\x00", b"MM\x00*")):
            header = _tiff_header(data)
        elif data.startswith(b"BM"):
            header = _bmp_header(data)
        else:
            found = next((name for magic, name in _KNOWN_BUT_UNREAD if data.startswith(magic)), "")
            raise InputError(
                f"not an image: {found or 'unknown content'}; "
                "expected PNG, JPEG, TIFF, BMP or DICOM"
            )
    except (struct.error, IndexError) as error:
        raise InputError("truncated file: it ends inside its header") from error
    if header.width < 1 or header.height < 1:
        raise InputError(f"damaged {header.kind}: size {header.width}×{header.height} in header")
    return header


def check_complete(data: bytes, kind: str) -> None:
    """Make sure that a file of a kind `read_header` named is whole.

    PNG: every chunk present, the checksums of the critical ones right, IEND reached. JPEG: every
    scan ends in a marker and the last one in EOI; bytes after EOI are allowed. TIFF: every strip or
    tile lies inside the file. BMP: all rows are there.

    Raises:
        InputError: the file is cut or damaged.
    """
    try:
        {"PNG": _png_walk, "JPEG": _jpeg_walk, "TIFF": _tiff_walk, "BMP": _bmp_walk}[kind](data)
    except (struct.error, IndexError) as error:
        raise InputError(f"truncated {kind}: the file ends too early") from error


def _png_header(data: bytes) -> Header:
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if name != b"IHDR" or length != 13:
        raise InputError("damaged PNG: no IHDR chunk at the start")
    return Header("PNG", width, height, bits, channels=1 if colour == 0 else 4)


def _png_walk(data: bytes) -> None:
    at, pixels = 8, False
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise InputError("truncated PNG: the file ends inside a chunk")
        # Bit 5 of the first letter marks chunks a decoder may skip; damage in those is harmless.
        if not name[0] & 0x20:
            (stated,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != stated:
                raise InputError("damaged PNG: checksum mismatch")
        pixels = pixels or name == b"IDAT"
        if name == b"IEND":
            if not pixels:
                raise InputError("damaged PNG: no pixel data")
            return
        at = end


_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


def _jpeg_header(data: bytes) -> Header:
    header = None
    for marker, at in jpeg_segments(data):
        if marker in FRAMES and header is None:
            bits, height, width, parts = struct.unpack_from(">BHHB", data, at)
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                raise InputError("lossless JPEG is read only inside DICOM")
            if bits != 8:
                raise InputError(f"JPEG with {bits} bits per sample; expected 8")
            block = width * height if marker in _PROGRESSIVE else 0
            header = Header(
                "JPEG", width, height, bits, channels=1 if parts == 1 else 3, block=block
            )
        elif marker == 0xDA and header is not None:
            if data[at] < parts:  # components come in scans of their own
                header = replace(header, block=header.width * header.height)
            break
    if header is None:
        raise InputError("truncated JPEG: no frame header")
    return header


def _jpeg_walk(data: bytes) -> None:
    markers = [marker for marker, _ in jpeg_segments(data)]
    if markers[-1] != 0xD9:
        raise InputError("truncated JPEG: the picture stops before the end-of-image marker")
    if 0xDA not in markers:
        raise InputError("damaged JPEG: no pixel data")


_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}


def _tiff_tags(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Unsigned tags of the first page, and the offset of the next page or 0."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from(order + "HHI", data, entry)
        if code not in _TIFF_TYPES:
            continue
        layout = f"{order}{length}{_TIFF_TYPES[code]}"
        if length > len(data):
            raise InputError("damaged TIFF: a tag is longer than the file")
        place = entry + 8
        if struct.calcsize(layout) > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = struct.unpack_from(layout, data, place)
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return tags, following


def _tiff_header(data: bytes) -> Header:
    tags, following = _tiff_tags(data)
    if following:
        raise InputError("TIFF with several pages; expected one radiograph per file")
    if 256 not in tags or 257 not in tags:
        raise InputError("damaged TIFF: no image size in header")
    if any(form != 1 for form in tags.get(339, ())):
        raise InputError("TIFF with signed or floating-point samples; expected unsigned integers")
    bits = max(tags.get(258, (1,)), default=1)
    width, height = tags[256][0], tags[257][0]
    photometric, samples = (tags.get(tag, (1,))[0] for tag in (262, 277))
    block = width * min(height, tags.get(278, (height,))[0])
    if 322 in tags and 323 in tags:
        block = tags[322][0] * tags[323][0]
    return Header(
        "TIFF",
        width,
        height,
        bits,
        inverted=photometric == 0,
        channels=1 if samples == 1 and photometric < 2 else max(3, samples),
        block=block,
    )


def _tiff_walk(data: bytes) -> None:
    tags, _ = _tiff_tags(data)
    offsets, lengths = (
        (tags.get(273, ()), tags.get(279, ()))
        if 273 in tags
        else (tags.get(324, ()), tags.get(325, ()))
    )
    if not offsets or len(offsets) != len(lengths):
        raise InputError("damaged TIFF: no pixel data")
    if any(at + length > len(data) for at, length in zip(offsets, lengths, strict=True)):
        raise InputError("truncated TIFF: the file ends inside its pixel data")


def _bmp_fields(data: bytes) -> tuple[int, int, int, int, int]:
    """Offset of the pixels, width, height, bits per pixel, compression."""
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        return start, width, height, bits, 0
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    return start, width, abs(height), bits, compression


def _bmp_header(data: bytes) -> Header:
    _, width, height, bits, _ = _bmp_fields(data)
    return Header("BMP", width, height, bits if bits < 8 else 8, channels=3 if bits < 32 else 4)


def _bmp_walk(data: bytes) -> None:
    start, width, height, bits, compression = _bmp_fields(data)
    rows = (width * bits + 31) // 32 * 4 * height
    # Run-length coded rows have no fixed size; those are left to the decoder.
    if compression not in (1, 2) and start + rows > len(data):
        raise InputError("truncated BMP: the file ends inside its pixel data")
