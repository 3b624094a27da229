"""TIFF files of any layout, written by hand so that each tag can be chosen."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np

ENCODERS = {
    1: bytes,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32946: zlib.compress,
    32773: imagecodecs.packbits_encode,
}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class TiffLayout:
    """How samples (H, W, C) are stored; the names are those of the tags."""

    bits: int = 8
    photometric: int = 1
    compression: int = 1
    predictor: int = 1
    planar: int = 1
    order: str = "<"
    fill_order: int = 1
    block: tuple[int, int] | None = None
    """Rows and columns of a tile."""
    strip_rows: int | None = None
    extra: tuple[int, ...] = ()
    colour_map: tuple[int, ...] = ()
    tags: tuple[tuple[int, str, tuple[int, ...]], ...] = ()
    """More tags: number, type as in struct, values."""


def encode_tiff(samples: np.ndarray, layout: TiffLayout) -> bytes:
    """Write samples, unsigned (H, W, C)."""
    stored = [encode_block(block, layout) for block in _blocks(samples, layout)]
    return assemble(samples.shape, layout, stored)


def encode_block(block: np.ndarray, layout: TiffLayout) -> bytes:
    """Compress a strip or tile (rows, columns, n)."""
    if layout.predictor == 2:
        block = np.diff(block, axis=1, prepend=block.dtype.type(0))
    rows, columns, count = block.shape
    flat = block.reshape(rows, columns * count)
    if layout.bits in (8, 16):
        data = flat.astype(f"{layout.order}u{layout.bits // 8}").tobytes()
    else:
        shifts = np.arange(layout.bits - 1, -1, -1)
        digits = (flat[..., None].astype(int) >> shifts & 1).reshape(rows, -1)
        data = np.packbits(digits.astype(np.uint8), axis=1).tobytes()
    data = ENCODERS[layout.compression](data)
    return data.translate(_REVERSED) if layout.fill_order == 2 else data


def _blocks(samples: np.ndarray, layout: TiffLayout) -> Iterator[np.ndarray]:
    planes = [samples]
    if layout.planar == 2:
        planes = [samples[..., at : at + 1] for at in range(samples.shape[2])]
    for plane in planes:
        height, width = plane.shape[:2]
        if layout.block is None:
            step = layout.strip_rows or height
            yield from (plane[row : row + step] for row in range(0, height, step))
            continue
        rows, columns = layout.block
        filled = np.pad(plane, ((0, -height % rows), (0, -width % columns), (0, 0)))
        for row in range(0, height, rows):
            for column in range(0, width, columns):
                yield filled[row : row + rows, column : column + columns]


def assemble(shape: tuple[int, ...], layout: TiffLayout, stored: list[bytes]) -> bytes:
    """Write a TIFF file of strips or tiles that are already compressed."""
    height, width, count = shape
    order = layout.order
    offsets, at = [], 8
    for block in stored:
        offsets.append(at)
        at += len(block) + len(block) % 2
    tiled = layout.block is not None
    tags = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (layout.bits,) * count),
        259: ("H", (layout.compression,)),
        262: ("H", (layout.photometric,)),
        277: ("H", (count,)),
        284: ("H", (layout.planar,)),
        324 if tiled else 273: ("I", tuple(offsets)),
        325 if tiled else 279: ("I", tuple(map(len, stored))),
    }
    if layout.block is not None:
        tags |= {322: ("I", (layout.block[1],)), 323: ("I", (layout.block[0],))}
    else:
        tags[278] = ("I", (layout.strip_rows or height,))
    if layout.predictor != 1:
        tags[317] = ("H", (layout.predictor,))
    if layout.fill_order != 1:
        tags[266] = ("H", (layout.fill_order,))
    if layout.extra:
        tags[338] = ("H", layout.extra)
    if layout.colour_map:
        tags[320] = ("H", layout.colour_map)
    tags |= {number: (kind, values) for number, kind, values in layout.tags}
    codes = {"B": 1, "H": 3, "I": 4}
    entries, more, beyond = b"", b"", at + 2 + 12 * len(tags) + 4
    for number, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}{kind}", *values)
        entries += struct.pack(order + "HHI", number, codes[kind], len(values))
        if len(value) > 4:
            entries += struct.pack(order + "I", beyond + len(more))
            more += value + bytes(len(value) % 2)
        else:
            entries += value.ljust(4, b"\0")
    body = b"".join(block + bytes(len(block) % 2) for block in stored)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4) + more
