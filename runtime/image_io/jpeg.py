"""The markers of a JPEG, JPEG-LS or JPEG 2000 codestream, as a file of its own or inside DICOM."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from orthoedge.runtime.errors import InputError

# The next marker of an entropy-coded scan that is neither a stuffed 0xFF nor a restart (T.81 B.1.1)
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_FILL = re.compile(rb"\xff*")
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MOST_SEGMENTS = 10_000  # some hundred are usual; a profile may be spread over 255
_MOST_SCANS = 100  # ten are usual; each goes once over the whole picture


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, offset of its payload) of each segment, up to and with EOI or the end of file.

    Raises:
        InputError: damaged, or more segments or scans than any encoder writes.
        struct.error, IndexError: the data end inside a segment.
    """
    at, segments, scans = 2, 0, 0
    while at < len(data):
        if data[at] != 0xFF:
            raise InputError("damaged JPEG: a marker is missing between segments")
        at = _FILL.match(data, at).end()  # type: ignore[union-attr]
        marker = data[at]
        segments += 1
        scans += marker == 0xDA
        if segments > _MOST_SEGMENTS or scans > _MOST_SCANS:
            raise InputError(
                f"damaged JPEG: more than {_MOST_SEGMENTS} segments or {_MOST_SCANS} scans"
            )
        at += 1
        yield marker, at + 2
        if marker == 0xD9:
            return
        (length,) = struct.unpack_from(">H", data, at)
        at += length
        if marker == 0xDA:
            found = _SCAN_END.search(data, at)
            if found is None:
                return
            at = found.start()


def check_scans(data: bytes, segments: list[tuple[int, int]]) -> None:
    """Make sure that every component has its scans, in a progressive JPEG to the last bit.

    A progressive file that was cut among its scans and closed again would only look softer
    (T.81 G.1.1.1).

    Args:
        data: the file.
        segments: of `jpeg_segments`.

    Raises:
        InputError: scans are missing.
        struct.error: the file ends inside a scan's header.
    """
    frame, at = next(segment for segment in segments if segment[0] in FRAMES)
    coefficients = range(64 if frame in PROGRESSIVE else 1)
    names = data[at + 6 : at + 6 + 3 * data[at + 5] : 3]
    missing = {(name, coefficient) for name in names for coefficient in coefficients}
    for marker, at in segments:
        if marker == 0xDA:
            parts = data[at]
            names = data[at + 1 : at + 1 + 2 * parts : 2]
            first, last, bits = struct.unpack_from("BBB", data, at + 1 + 2 * parts)
            if frame not in PROGRESSIVE:
                first, last, bits = 0, 0, 0
            if bits & 15 == 0:  # the lowest bit of these
                missing -= {(name, k) for name in names for k in range(first, min(last, 63) + 1)}
    if missing:
        raise InputError("truncated JPEG: some of its scans are missing")


class Codestream(NamedTuple):
    """What the header of a codestream states."""

    width: int
    height: int
    components: int
    bits: int
    """Per sample."""


def read_codestream(frame: bytes) -> Codestream:
    """Header of a JPEG, JPEG-LS or JPEG 2000 codestream inside a DICOM file.

    Raises:
        InputError: it is none of these, or states nothing.
    """
    try:
        if frame.startswith(b"\xff\x4f\xff\x51"):  # SOC, SIZ: ISO/IEC 15444-1 A.5.1
            right, bottom, left, top = struct.unpack_from(">IIII", frame, 8)
            components, bits = struct.unpack_from(">HB", frame, 40)
            return Codestream(right - left, bottom - top, components, (bits & 0x7F) + 1)
        if frame.startswith(b"\xff\xd8\xff"):
            for marker, at in jpeg_segments(frame):
                if marker in FRAMES or marker == 0xF7:  # SOF55: ISO/IEC 14495-1 C.2.2
                    bits, height, width, components = struct.unpack_from(">BHHB", frame, at)
                    return Codestream(width, height, components, bits)
    except (struct.error, IndexError) as error:
        raise InputError("truncated DICOM: the compressed image ends in its header") from error
    raise InputError("damaged DICOM: the compressed image has no readable header")
