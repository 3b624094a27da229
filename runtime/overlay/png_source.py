"""A line in a PNG file that says what its picture was made from, so that no other one replaces it.

It is a chunk `tEXt` with the keyword `orthoedge-source` directly after the header (PNG, third
edition, 11.3.3.2). Viewers pass over it.
"""

from __future__ import annotations

import stat
import struct
import zlib
from pathlib import Path

__all__ = ["source_of", "with_source"]

_HEADER = 33  # bytes of the signature and of the chunk IHDR
_KEY = b"tEXtorthoedge-source\0"
_LONGEST = 200


def with_source(png: bytes, source: str) -> bytes:
    """Add the line to a file that has none.

    Args:
        png: content of a PNG file.
        source: in ASCII, such as a SHA-256 in hex; at most 200 characters.
    """
    chunk = _KEY + source.encode("ascii")
    line = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:_HEADER] + line + png[_HEADER:]


def source_of(file: Path) -> str | None:
    """The source of a picture; empty for what states none, None where there is nothing.

    Raises:
        OSError: it cannot be read.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait for its writer
            return ""
        with file.open("rb") as content:
            head = content.read(_HEADER + 4 + len(_KEY) + _LONGEST)
    except FileNotFoundError:
        return None
    if head[_HEADER + 4 : _HEADER + 4 + len(_KEY)] != _KEY:
        return ""
    length = struct.unpack_from(">I", head, _HEADER)[0] - len(_KEY) + 4
    start = _HEADER + 4 + len(_KEY)
    return head[start : start + length].decode("ascii", "replace")
