"""Tags of a TIFF file and its pages (TIFF 6.0 section 2)."""

from __future__ import annotations

import enum
import struct

from orthoedge.runtime.errors import InputError


class Tag(enum.IntEnum):
    """Tags of numbers."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SAMPLE_FORMAT = 339


_TAGS = frozenset(Tag)
_SUBFILE, _SUB_PAGES = 254, 330
DESCRIPTION = 270
"""A text; what ImageJ says of a stack."""
JPEG_TABLES = 347
"""Tables that all strips or tiles in JPEG compression share."""
_LONGEST_TEXT = 2**16
_MOST_COPIES = 16
_LAYOUTS = {1: "B", 3: "H", 4: "I"}
_LONGEST = 2**20  # strips or tiles; a file with more is built to keep its reader busy


def read_tags(data: bytes) -> tuple[dict[int, tuple[int, ...]], dict[int, bytes], int]:
    """Read the tags of `Tag` from the first page, its texts, and the next page's offset or 0."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, tuple[int, ...]] = {}
    texts = {DESCRIPTION: b"", JPEG_TABLES: b""}
    is_copy = has_others = False
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from(order + "HHI", data, entry)
        if length > 4 and texts.get(tag) == b"":
            (place,) = struct.unpack_from(order + "I", data, entry + 8)
            texts[tag] = data[place : place + min(length, _LONGEST_TEXT)]
        if tag == _SUBFILE:
            is_copy = bool(struct.unpack_from(order + "I", data, entry + 8)[0] & 1)
        has_others = has_others or tag == _SUB_PAGES
        if tag not in _TAGS:
            continue
        if tag in tags or code not in _LAYOUTS or not length:
            raise InputError(f"malformed TIFF: tag {tag} is duplicated or has an unexpected type")
        if length > min(len(data), _LONGEST):
            raise InputError("damaged TIFF: a tag is longer than the file")
        layout = f"{order}{length}{_LAYOUTS[code]}"
        place = entry + 8
        if struct.calcsize(layout) > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = struct.unpack_from(layout, data, place)
    if is_copy and has_others:
        raise InputError("TIFF whose first page is a smaller copy; save the picture as one page")
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return tags, texts, following


def holds_copies(data: bytes, at: int) -> bool:
    """Whether the page at an offset and those after it are smaller copies or masks, or none."""
    order = "<" if data[:2] == b"II" else ">"
    for _ in range(_MOST_COPIES):
        if not at:
            return True
        (count,) = struct.unpack_from(order + "H", data, at)
        entries = struct.iter_unpack(order + "HHI4s", data[at + 2 : at + 2 + 12 * count])
        kind = next((value for tag, _, _, value in entries if tag == _SUBFILE), bytes(4))
        if not struct.unpack(order + "I", kind)[0] & 5:  # bit 0: smaller; bit 2: a mask
            return False
        (at,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return False
