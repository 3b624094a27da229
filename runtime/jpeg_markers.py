"""The markers of a JPEG, JPEG-LS or JPEG 2000 codestream, as a file of its own or inside DICOM."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from orthoedge.runtime.errors import InputError

# The next marker of an entropy-coded scan that is neither a stuffed 0xFF nor a restart (T.81 B.1.1)
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, offset of its payload) of each segment, up to and with EOI or the end of file."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            raise InputError("damaged JPEG: a marker is missing between segments")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
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


def codestream_size(frame: bytes) -> tuple[int, int]:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 codestream inside a DICOM file states.

    Raises:
        InputError: it is none of these, or has no size.
    """
    try:
        if frame.startswith(b"\xff\x4f\xff\x51"):  # SOC, SIZ: ISO/IEC 15444-1 A.5.1
            right, bottom, left, top = struct.unpack_from(">IIII", frame, 8)
            return right - left, bottom - top
        if frame.startswith(b"\xff\xd8\xff"):
            for marker, at in jpeg_segments(frame):
                if marker in FRAMES or marker == 0xF7:  # SOF55: ISO/IEC 14495-1 C.2.2
                    height, width = struct.unpack_from(">HH", frame, at + 1)
                    return width, height
    except (struct.error, IndexError) as error:
        raise InputError("truncated DICOM: the compressed image ends in its header") from error
    raise InputError("damaged DICOM: the compressed image has no readable header")
