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
from orthoedge.runtime.image_io.jpeg import (
    FRAMES,
    PROGRESSIVE,
    check_scans,
    jpeg_segments,
)
from orthoedge.runtime.image_io.tiff import (
    BITS,
    COMPRESSION,
    FORMAT,
    HEIGHT,
    PHOTOMETRIC,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    read_tags,
)

_SAMPLES = 4  # per pixel: RGB and alpha
_LARGE_TILE = 2**22  # pixels; a tile may reach beyond a small picture
_MOST_CHUNKS = 100_000  # of a PNG: 512 MB in the usual chunks of 8 KB, and as many more


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
    scan ends in a marker and the last one in EOI, a progressive one has all its scans; bytes after
    EOI are allowed. TIFF: every strip or tile lies inside the file. BMP: all rows are there.

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
    for _ in range(_MOST_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise InputError("truncated PNG: the file ends inside a chunk")
        # Bit 5 of the first letter marks chunks a decoder may skip; damage in those is harmless.
        if not name[0] & 0x20:
            (stated,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != stated:
                raise InputError("damaged PNG: checksum mismatch")
        if name == b"acTL":
            raise InputError("animated PNG; expected one radiograph per file")
        pixels = pixels or name == b"IDAT"
        if name == b"IEND":
            if not pixels:
                raise InputError("damaged PNG: no pixel data")
            return
        at = end
    raise InputError(f"damaged PNG: more than {_MOST_CHUNKS} chunks")


def _jpeg_header(data: bytes) -> Header:
    header = None
    for marker, at in jpeg_segments(data):
        if marker in FRAMES and header is None:
            bits, height, width, parts = struct.unpack_from(">BHHB", data, at)
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                raise InputError("lossless JPEG is read only inside DICOM")
            if bits != 8:
                raise InputError(f"JPEG with {bits} bits per sample; expected 8")
            if not 1 <= parts <= _SAMPLES:
                raise InputError(f"JPEG with {parts} components; expected 1 to {_SAMPLES}")
            block = width * height if marker in PROGRESSIVE else 0
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
    segments = list(jpeg_segments(data))
    if segments[-1][0] != 0xD9:
        raise InputError("truncated JPEG: the picture stops before the end-of-image marker")
    if all(marker != 0xDA for marker, _ in segments):
        raise InputError("damaged JPEG: no pixel data")
    check_scans(data, segments)


def _tiff_header(data: bytes) -> Header:
    tags, following = read_tags(data)
    if following:
        raise InputError("TIFF with several pages; expected one radiograph per file")
    if WIDTH not in tags or HEIGHT not in tags:
        raise InputError("damaged TIFF: no image size in header")
    if any(form != 1 for form in tags.get(FORMAT, ())):
        raise InputError("TIFF with signed or floating-point samples; expected unsigned integers")
    bits = max(tags.get(BITS, (1,)))
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    photometric, samples = (tags.get(tag, (1,))[0] for tag in (PHOTOMETRIC, SAMPLES))
    if not 1 <= bits <= 16 or not 1 <= samples <= _SAMPLES:
        raise InputError(f"TIFF with {samples} samples of {bits} bits; expected 1 to 4 of 8 or 16")
    block = width * min(height, tags.get(STRIP_ROWS, (height,))[0])
    if TILE_WIDTH in tags and TILE_HEIGHT in tags:
        block = tags[TILE_WIDTH][0] * tags[TILE_HEIGHT][0]
        if block > max(width * height, _LARGE_TILE):
            raise InputError("damaged TIFF: its tiles are larger than the picture")
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
    tags, _ = read_tags(data)
    where, how_long = (
        (STRIP_OFFSETS, STRIP_BYTES) if STRIP_OFFSETS in tags else (TILE_OFFSETS, TILE_BYTES)
    )
    offsets, lengths = tags.get(where, ()), tags.get(how_long, ())
    if not offsets or len(offsets) != len(lengths):
        raise InputError("damaged TIFF: no pixel data")
    if any(at + length > len(data) for at, length in zip(offsets, lengths, strict=True)):
        raise InputError("truncated TIFF: the file ends inside its pixel data")
    samples, bits = tags.get(SAMPLES, (1,))[0], max(tags.get(BITS, (1,)))
    rows = (tags[WIDTH][0] * samples * bits + 7) // 8 * tags[HEIGHT][0]
    if tags.get(COMPRESSION, (1,))[0] == 1 and sum(lengths) < rows:
        raise InputError("truncated TIFF: its strips hold less than the picture")


_BMP_ROWS = (0, 3, 6)  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: one after another, as they are


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
    if compression not in _BMP_ROWS:
        raise InputError("BMP with compressed rows, which may end early unseen; save it as PNG")
    return Header("BMP", width, height, bits if bits < 8 else 8, channels=3 if bits < 32 else 4)


def _bmp_walk(data: bytes) -> None:
    start, width, height, bits, _ = _bmp_fields(data)
    rows = (width * bits + 31) // 32 * 4 * height
    if start + rows > len(data):
        raise InputError("truncated BMP: the file ends inside its pixel data")


def without_profile(data: bytes) -> bytes:
    """The file without its iCCP chunks; the same object where there is none.

    Args:
        data: a PNG file whose chunks all lie inside it.
    """
    kept: list[bytes] = []
    start, at = 0, 8
    while data[at + 4 : at + 8] not in (b"IDAT", b"IEND", b""):  # a profile comes before pixels
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        if data[at + 4 : at + 8] == b"iCCP":
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join((*kept, data[start:])) if kept else data
