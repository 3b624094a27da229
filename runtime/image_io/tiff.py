"""Size, sample format and completeness of a TIFF file, from its tags (TIFF 6.0)."""

from __future__ import annotations

import enum
import struct

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import MAX_CHANNELS, Header


class _Tag(enum.IntEnum):
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SAMPLE_FORMAT = 339


_TAGS = frozenset(_Tag)
_LARGE_TILE = 2**22  # pixels; a tile may reach beyond a small picture
_LAYOUTS = {1: "B", 3: "H", 4: "I"}
_LONGEST = 2**20  # strips or tiles; a file with more is built to keep its reader busy


def tiff_header(data: bytes) -> Header:
    """Read the header of a TIFF file of one page.

    Raises:
        InputError: several pages, samples that are not unsigned integers, or impossible tags.
        struct.error: the file ends inside its header.
    """
    tags, following = _read_tags(data)
    if following:
        raise InputError("TIFF with several pages; expected one radiograph per file")
    if _Tag.WIDTH not in tags or _Tag.HEIGHT not in tags:
        raise InputError("damaged TIFF: no image size in header")
    if any(form != 1 for form in tags.get(_Tag.SAMPLE_FORMAT, ())):
        raise InputError("TIFF with signed or floating-point samples; expected unsigned integers")
    bits = max(tags.get(_Tag.BITS, (1,)))
    width, height = tags[_Tag.WIDTH][0], tags[_Tag.HEIGHT][0]
    photometric, samples = (tags.get(tag, (1,))[0] for tag in (_Tag.PHOTOMETRIC, _Tag.SAMPLES))
    if not 1 <= bits <= 16 or not 1 <= samples <= MAX_CHANNELS:
        raise InputError(f"TIFF with {samples} samples of {bits} bits; expected 1 to 4 of 8 or 16")
    channels = 1 if samples == 1 and photometric < 2 else max(3, samples)
    block = width * min(height, tags.get(_Tag.STRIP_ROWS, (height,))[0])
    if _Tag.TILE_WIDTH in tags and _Tag.TILE_HEIGHT in tags:
        block = tags[_Tag.TILE_WIDTH][0] * tags[_Tag.TILE_HEIGHT][0]
        if block > max(width * height, _LARGE_TILE):
            raise InputError("damaged TIFF: its tiles are larger than the picture")
    return Header("TIFF", width, height, bits, photometric == 0, channels, block)


def check_tiff(data: bytes) -> None:
    """Check that every strip or tile of a TIFF file lies inside it.

    Raises:
        InputError: the file is cut or damaged.
        struct.error: the file ends inside its header.
    """
    tags, _ = _read_tags(data)
    in_strips = _Tag.STRIP_OFFSETS in tags
    offsets = tags.get(_Tag.STRIP_OFFSETS if in_strips else _Tag.TILE_OFFSETS, ())
    lengths = tags.get(_Tag.STRIP_BYTES if in_strips else _Tag.TILE_BYTES, ())
    if not offsets or len(offsets) != len(lengths):
        raise InputError("damaged TIFF: no pixel data")
    if any(at + length > len(data) for at, length in zip(offsets, lengths, strict=True)):
        raise InputError("truncated TIFF: the file ends inside its pixel data")
    samples, bits = tags.get(_Tag.SAMPLES, (1,))[0], max(tags.get(_Tag.BITS, (1,)))
    picture_bytes = (tags[_Tag.WIDTH][0] * samples * bits + 7) // 8 * tags[_Tag.HEIGHT][0]
    if tags.get(_Tag.COMPRESSION, (1,))[0] == 1 and sum(lengths) < picture_bytes:
        raise InputError("truncated TIFF: its strips hold less than the picture")


def _read_tags(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the tags of `_Tag` from the first page, and the offset of the next page or 0."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from(order + "HHI", data, entry)
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
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return tags, following
