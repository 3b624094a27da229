"""Compressed images inside DICOM: their codec, samples and end, read before anything is decoded.

The transfer syntax only announces a codec; the codestream has it. Sources: JPEG T.81; JPEG-LS
ISO/IEC 14495-1; JPEG 2000 ISO/IEC 15444-1, HTJ2K 15444-15; RLE PS3.5 annex G.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.jpeg import FRAMES, check_scans, read_segments

_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC, SIZ
_JP2 = b"\x00\x00\x00\x0cjP  "
STARTS = (b"\xff\xd8\xff", _JPEG_2000, _JP2)
"""First bytes of every codestream but RLE."""
# Of JPEG: 0x00, TEM, RSTn and SOI have no length; a decoder takes what follows for something else.
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_MOST_TILE_PARTS = 100_000
_TRUNCATED = "truncated DICOM: the compressed image has no end"


@dataclass(frozen=True)
class Codestream:
    """A complete compressed image, as stated in its own header."""

    codec: str
    """`JPEG`, `JPEG lossless`, `JPEG-LS`, `JPEG 2000`, `HTJ2K` or `RLE`."""
    data: bytes
    """From its first marker to its last."""
    width: int
    height: int
    bits: int
    channels: int
    signed: bool = False
    lossless: bool = False
    """Coded so that the samples come back exactly; False for JPEG 2000, which may be cut."""


def read_codestream(frame: bytes) -> Codestream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream, and find its end.

    Bytes after its end are allowed: a fragment has an even length, and the standard does not say
    with what an encoder fills it up (PS3.5 A.4).

    Raises:
        InputError: none of these, no readable header, truncated, or followed by another image.
    """
    try:
        if frame.startswith(_JP2):
            frame = _in_boxes(frame)
        if frame.startswith(_JPEG_2000):
            stream, end = _jpeg_2000(frame)
        elif frame.startswith(b"\xff\xd8\xff"):
            stream, end = _jpeg(frame)
        else:
            raise InputError("damaged DICOM: the compressed image has no readable header")
    except (struct.error, IndexError) as error:
        raise InputError("truncated DICOM: the compressed image ends in its header") from error
    if frame[end : end + 4].startswith(STARTS[:2]):
        raise InputError("DICOM with several compressed images in one frame: expected one")
    return stream


def _jpeg(frame: bytes) -> tuple[Codestream, int]:
    """JPEG and JPEG-LS (SOF55)."""
    segments = list(read_segments(frame))
    marker, end = segments[-1]
    if marker != 0xD9:
        raise InputError(_TRUNCATED)
    end -= 2
    frames = [segment for segment in segments if segment[0] in FRAMES or segment[0] == 0xF7]
    scans = [at for marker, at in segments if marker == 0xDA]
    if not frames or not scans:
        raise InputError("damaged DICOM: the compressed image has no readable header")
    if any(marker in _BARE for marker, _ in segments):
        raise InputError("damaged DICOM: a marker of the compressed image is not a segment's")
    kind, at = frames[0]
    bits, height, width, channels = struct.unpack_from(">BHHB", frame, at)
    codec, lossless = "JPEG", False
    if kind == 0xF7:
        near = frame[scans[0] + 1 + 2 * frame[scans[0]]]
        codec, lossless = "JPEG-LS", near == 0
    elif kind == 0xC3:
        codec, lossless = "JPEG lossless", True
    elif kind not in (0xC0, 0xC1, 0xC2):
        raise InputError(
            "DICOM with an arithmetic or hierarchical JPEG image, which no decoder here reads; "
            "export it uncompressed (Explicit VR Little Endian)"
        )
    if codec == "JPEG" and bits not in ((8,) if kind == 0xC0 else (8, 12)):  # T.81 table B.2
        raise InputError(f"damaged DICOM: a JPEG image with {bits} bits per sample")
    if kind != 0xF7:
        check_scans(frame, segments)
    data = _without_application_data(frame, segments, end)
    return Codestream(codec, data, width, height, bits, channels, False, lossless), end


def _without_application_data(frame: bytes, segments: list[tuple[int, int]], end: int) -> bytes:
    """Remove APPn and COM segments from the header; without any, return the frame up to its end.

    They do not change a grey sample, but a warning about one makes GDCM end the process.
    """
    parts: list[bytes] = []
    start = 0
    for marker, at in segments:
        if marker == 0xDA:
            break
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            parts.append(frame[start : at - 4])
            (length,) = struct.unpack_from(">H", frame, at - 2)
            start = at - 2 + length
    return b"".join((*parts, frame[start:end]))


def _jpeg_2000(frame: bytes) -> tuple[Codestream, int]:
    """Part 1, 2 and 15; every tile must be complete (15444-1 A.4)."""
    right, bottom, left, top = struct.unpack_from(">IIII", frame, 8)
    tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">IIII", frame, 24)
    channels, sample = struct.unpack_from(">HB", frame, 40)
    at, codec = 2, "JPEG 2000"
    while frame[at : at + 2] != b"\xff\x90":  # SOT
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker < 0xFF4F or length < 2:
            raise InputError("damaged DICOM: the compressed image has no readable header")
        codec = "HTJ2K" if marker == 0xFF50 else codec  # CAP
        at += 2 + length
    if not tile_width or not tile_height:
        raise InputError("damaged DICOM: the compressed image has no readable header")
    tiles = math.ceil((right - tile_left) / tile_width) * math.ceil(
        (bottom - tile_top) / tile_height
    )
    found: set[int] = set()
    size = 0
    for _ in range(_MOST_TILE_PARTS):
        if frame[at : at + 2] != b"\xff\x90":
            break
        tile, size = struct.unpack_from(">HI", frame, at + 4)
        found.add(tile)
        if size == 0:  # up to the end, whose marker cannot occur inside
            at = max(frame.find(b"\xff\xd9", at), at)
            break
        at += max(size, 12)
    end, signed = at + 2, bool(sample & 0x80)
    bits = (sample & 0x7F) + 1
    data = frame[:end]
    # Some encoders leave out the end marker: then the tile-parts, which state their lengths, must
    # fill the frame, and zeros at their end may stand for a part that was lost.
    if size and at <= len(frame) and not any(frame[at:]) and any(frame[at - 2 : at]):
        data = frame[:at] + b"\xff\xd9"
    if not data.endswith(b"\xff\xd9") or len(found) < tiles:
        raise InputError(_TRUNCATED)
    stream = Codestream(codec, data, right - left, bottom - top, bits, channels, signed, False)
    return stream, end


def _in_boxes(frame: bytes) -> bytes:
    """Return the codestream of a JP2 file (15444-1 annex I), which DICOM does not provide for."""
    at = 0
    while at < len(frame):
        size, name = struct.unpack_from(">I4s", frame, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", frame, start)
            start += 8
        if name == b"jp2c":
            return frame[start : at + size if size else len(frame)]
        at += max(size, 8)
    raise InputError("damaged DICOM: the compressed image has no readable header")


def read_rle(frame: bytes, bytes_per_sample: int, width: int, height: int) -> Codestream:
    """Read the header of an RLE image; rows and columns are not in it.

    Raises:
        InputError: no such header, or one for other samples.
    """
    if not is_rle(frame):
        raise InputError("damaged DICOM: the compressed image has no readable header")
    (segments,) = struct.unpack_from("<I", frame)
    if segments != bytes_per_sample:
        raise InputError(
            f"damaged DICOM: the compressed image has samples of {segments} bytes in all, "
            f"its header says {bytes_per_sample}"
        )
    return Codestream("RLE", frame, width, height, 8 * bytes_per_sample, 1, False, True)


def is_rle(frame: bytes) -> bool:
    """Return whether it begins with an RLE header: 1 to 15 segments, the first at 64."""
    if len(frame) < 64:
        return False
    segments, first = struct.unpack_from("<II", frame)
    return bool(1 <= segments <= 15 and first == 64)
