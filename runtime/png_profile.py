"""A PNG without its colour profile, whose name libpng quotes where it complains of the profile.

That name is free text, and what libpng prints goes to the standard error of the whole process: a
file could put a patient's name there. Grey levels do not depend on it.
"""

from __future__ import annotations

import struct


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
