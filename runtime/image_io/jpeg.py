"""Header and completeness of a JPEG file, and the segments of JPEG and JPEG-LS (T.81)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import Header

# The next marker of an entropy-coded scan that is neither a stuffed 0xFF nor a restart (T.81 B.1.1)
_SCAN_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# JPEG-LS stuffs one bit instead: 0xFF is followed by less than 0x80 (ISO/IEC 14495-1 A.1).
_LS_SCAN_END = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_FILL = re.compile(rb"\xff*")
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers SOF0 to SOF15."""
_READ_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman coding: baseline, extended, progressive
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MOST_SEGMENTS = 10_000  # some hundred are usual; a colour profile may take 255
_MOST_SCANS = 100  # ten are usual; each one passes over the whole picture


def read_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Iterate over (marker, offset of its payload) up to and including EOI, or to the end.

    Raises:
        InputError: damaged, or more segments than any picture needs.
        struct.error, IndexError: the data ends inside a segment.
    """
    at, segments, scans, scan_end = 2, 0, 0, _SCAN_END
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
        if marker == 0xF7:
            scan_end = _LS_SCAN_END
        (length,) = struct.unpack_from(">H", data, at)
        at += length
        if marker == 0xDA:
            end = scan_end.search(data, at)
            if end is None:
                return
            at = end.start()


def check_scans(data: bytes, segments: list[tuple[int, int]]) -> None:
    """Check that every component has its scans, in a progressive JPEG down to the last bit.

    A progressive file that was cut between its scans and closed with EOI would only be blurred
    (T.81 G.1.1.1).

    Raises:
        InputError: some are missing.
        struct.error, IndexError: a segment is too short.
    """
    frame, at = next(segment for segment in segments if segment[0] in FRAMES)
    coefficients = range(64 if frame in _PROGRESSIVE else 1)
    names = data[at + 6 : at + 6 + 3 * data[at + 5] : 3]
    missing = {(name, coefficient) for name in names for coefficient in coefficients}
    for marker, at in segments:
        if marker == 0xDA:
            count = data[at]
            names = data[at + 1 : at + 1 + 2 * count : 2]
            first, last, bits = struct.unpack_from("BBB", data, at + 1 + 2 * count)
            if frame not in _PROGRESSIVE:
                first, last, bits = 0, 0, 0
            if bits & 15 == 0:  # this scan has the lowest bit
                missing -= {(name, k) for name in names for k in range(first, min(last, 63) + 1)}
    if missing:
        raise InputError("truncated JPEG: some of its scans are missing")


def jpeg_header(data: bytes) -> Header:
    """Read the header of a baseline or progressive JPEG file.

    Raises:
        InputError: of a kind or depth that is not read, or without a frame header.
        struct.error, IndexError: the file ends inside its header.
    """
    header = None
    for marker, at in read_segments(data):
        if marker in FRAMES and header is None:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at)
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                raise InputError("lossless JPEG is read only inside DICOM")
            if bits != 8:
                raise InputError(f"JPEG with {bits} bits per sample; expected 8")
            if marker not in _READ_FRAMES:
                raise InputError(
                    "JPEG with arithmetic coding or in several frames; save it as baseline JPEG"
                )
            if not height:  # T.81 B.2.5: the number of lines follows the first scan
                raise InputError("JPEG that states its height after its pixels; save it anew")
            if components not in (1, 3):
                raise InputError(
                    f"JPEG with {components} components, such as CMYK; save it as a grey picture"
                )
            block = width * height if marker in _PROGRESSIVE else 0
            channels = 1 if components == 1 else 3
            header = Header("JPEG", width, height, bits, channels=channels, block=block)
        elif marker == 0xF7:
            raise InputError("JPEG-LS is read only inside DICOM")
        elif marker == 0xDA and header is not None:
            if data[at] < components:  # each component has a scan of its own
                header = replace(header, block=header.width * header.height)
            break
    if header is None:
        raise InputError("truncated JPEG: no frame header")
    return header


def check_jpeg(data: bytes) -> None:
    """Check that a JPEG file reaches its EOI marker and has all its scans.

    Raises:
        InputError: the file is cut or damaged.
        struct.error, IndexError: the file ends inside a segment.
    """
    segments = list(read_segments(data))
    if segments[-1][0] != 0xD9:
        raise InputError("truncated JPEG: the picture stops before the end-of-image marker")
    if all(marker != 0xDA for marker, _ in segments):
        raise InputError("damaged JPEG: no pixel data")
    check_scans(data, segments)
