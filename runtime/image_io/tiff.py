"""The tags of a TIFF file that say how large its picture is and where it lies (TIFF 6.0)."""

from __future__ import annotations

import struct

from orthoedge.runtime.errors import InputError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_BYTES = 273, 277, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, FORMAT = 322, 323, 324, 325, 339

_WANTED = frozenset(
    (
        *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, STRIP_ROWS),
        *(STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, FORMAT),
    )
)
_LAYOUTS = {1: "B", 3: "H", 4: "I"}
_LONGEST = 2**20  # strips or tiles; more would be a file made to keep its reader busy


def read_tags(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Those tags of the first page, all unsigned, and the offset of the next page or 0.

    Raises:
        InputError: one is there twice, of a type it cannot have, or longer than the file.
        struct.error: the file ends before they do.
    """
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from(order + "HHI", data, entry)
        if tag not in _WANTED:
            continue
        if tag in tags or code not in _LAYOUTS or not length:
            raise InputError(f"damaged TIFF: tag {tag} is there twice or of a wrong type")
        if length > min(len(data), _LONGEST):
            raise InputError("damaged TIFF: a tag is longer than the file")
        layout = f"{order}{length}{_LAYOUTS[code]}"
        place = entry + 8
        if struct.calcsize(layout) > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = struct.unpack_from(layout, data, place)
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return tags, following
