"""PNG and BMP files of any layout, written by hand so that each field can be chosen."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from tests.helpers.hostile.files import png_of

# Interlaced PNG: first row and column, and steps, of each pass (Adam7).
_PASSES = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)),
    (1, 0, 2, 1),
)


def pack(samples: np.ndarray, bits: int, order: str = ">") -> np.ndarray:
    """Pack samples (H, W, C) to bytes (H, n), the highest bits first."""
    flat = samples.reshape(len(samples), -1)
    if bits in (8, 16):
        return flat.astype(f"{order}u{bits // 8}").view(np.uint8).reshape(len(samples), -1)
    digits = (flat[..., None].astype(int) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.astype(np.uint8).reshape(len(samples), -1), axis=1)


def png(
    samples: np.ndarray,
    bits: int,
    colour: int,
    interlaced: bool = False,
    before: Sequence[tuple[bytes, bytes]] = (),
    stream: bytes | None = None,
) -> bytes:
    """Write samples (H, W, C); `before` are chunks between IHDR and IDAT.

    Rows use the filters 0 and 1 in turn.
    """
    height, width, count = samples.shape
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    raw = b""
    step = max(1, bits * count // 8)
    for row, column, down, across in passes:
        part = samples[row::down, column::across]
        if not part.size:
            continue
        for index, line in enumerate(pack(part, bits)):
            if index % 2:
                shifted = np.concatenate((np.zeros(step, np.uint8), line[:-step]))
                line = line - shifted[: len(line)]
            raw += bytes((index % 2,)) + line.tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    body = zlib.compress(raw) if stream is None else stream
    return png_of([(b"IHDR", header), *before, (b"IDAT", body), (b"IEND", b"")])


def bmp(
    samples: np.ndarray,
    bits: int,
    palette: np.ndarray | None = None,
    header: int = 40,
    top_down: bool = False,
    masks: tuple[int, ...] = (),
) -> bytes:
    """Write samples (H, W, C), blue first; `palette` is (N, 3), `masks` of red, green, blue."""
    height, width, _ = samples.shape
    if bits <= 8:
        rows = pack(samples, bits)
    elif bits in (16, 32) and masks:
        rows = samples.astype(f"<u{bits // 8}").view(np.uint8).reshape(height, -1)
    else:
        rows = samples.astype(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    pixels = (rows if top_down else rows[::-1]).tobytes()
    table = b""
    if palette is not None:
        filler = () if header == 12 else ((0, 1),)
        table = np.pad(palette.astype(np.uint8), ((0, 0), *(filler or ((0, 0),)))).tobytes()
    compression = 3 if masks else 0
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        signed = -height if top_down else height
        info = struct.pack(
            "<IiiHHIIiiII", header, width, signed, 1, bits, compression, len(pixels), 0, 0, 0, 0
        )
        red, green, blue = masks or (0, 0, 0)
        colours = struct.pack("<III", red, green, blue)
        if header > 40:
            info += (colours + struct.pack("<I", 0) + b"BGRs").ljust(header - 40, b"\0")[
                : header - 40
            ]
        elif masks:
            info += colours
    start = 14 + len(info) + len(table)
    head = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    return head + info + table + pixels
