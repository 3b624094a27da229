"""Decompression of a TIFF file's strips and tiles.

LZW and PackBits are decoded by libtiff inside OpenCV. It returns an error for a damaged strip only
where OpenCV reads 16 bits, and never where a strip holds more than its rows. So the strips are
passed on as rows of a picture of 16 bits, with some bytes added to their end that have to come out
last: then the strip held exactly its rows.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.decoder_messages import decode_quietly
from orthoedge.runtime.image_io.tiff.header import Compression

_CLEAR, _END = 256, 257
_WIDEST = 2**21  # bytes of a row: OpenCV's limit of 2^20 columns
_MOST_ROWS = 2**19  # of a picture; OpenCV's limit is 2^20
_SENTINEL = b"\x5a\xa5\x3c\xc3\x96\x69\x0f\xf0"
_DAMAGED = "damaged TIFF: a strip or tile cannot be decompressed"
_WRONG_END = "damaged TIFF: a strip or tile does not end where its rows end"
_RUN = 128  # codes of 9 bits after which the table is cleared, before codes grow to 10


def unpack(
    strips: list[memoryview], size: int, whole: int, compression: Compression
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decompress strips or tiles to `size` bytes each.

    Args:
        strips: as stored.
        size: bytes of each.
        whole: bytes of a strip that is not the last one; some programs fill up the last.
        compression: any but JPEG.

    Raises:
        InputError: a strip is damaged, or holds more or less.
    """
    if compression == Compression.NONE:
        yield from (np.frombuffer(strip, np.uint8, size) for strip in strips)
        return
    if compression in (Compression.DEFLATE, Compression.OLD_DEFLATE):
        yield from (_inflate(strip, size, whole) for strip in strips)
        return
    is_lzw = compression == Compression.LZW
    decode = _unpack_lzw if is_lzw else _unpack_runs
    rows = -(-(size + len(_SENTINEL)) // _WIDEST)
    most = max(1, _MOST_ROWS // rows)
    for start in range(0, len(strips), most):
        part = strips[start : start + most]
        done = _decode(part, size, rows, is_lzw)
        if done is not None:
            yield from done
            continue
        for strip in part:  # one is damaged or ends in an unusual way
            alone = _decode([strip], size, rows, is_lzw)
            yield alone[0] if alone is not None else decode(bytes(strip), size, whole)


def _inflate(strip: memoryview, size: int, whole: int) -> npt.NDArray[np.uint8]:
    """Decompress deflate and verify its checksum."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(strip, size)
        if not stream.eof:
            stream.decompress(stream.unconsumed_tail, whole - size + 1)
    except zlib.error as error:
        raise InputError(_DAMAGED) from error
    if len(content) < size or not stream.eof:
        raise InputError(_WRONG_END)
    return np.frombuffer(content, np.uint8)


def _decode(
    strips: list[memoryview], size: int, rows: int, is_lzw: bool
) -> npt.NDArray[np.uint8] | None:
    """Return (strips, size), or None unless each strip ends after exactly `size` bytes.

    Args:
        strips: compressed.
        size: bytes of each.
        rows: of the picture for each strip.
        is_lzw: otherwise PackBits.
    """
    columns = -(-(size + len(_SENTINEL)) // (2 * rows))
    sentinel = (_SENTINEL * (2 + 2 * rows))[: 2 * columns * rows - size]
    if is_lzw:
        codes = _encode(sentinel)
        patched = [_replace_end(strip, codes) for strip in strips]
    else:
        runs = [sentinel[at : at + 128] for at in range(0, len(sentinel), 128)]
        tail = b"".join(bytes((len(run) - 1,)) + run for run in runs)
        patched = [(strip, tail) for strip in strips]
    compression = Compression.LZW if is_lzw else Compression.PACKBITS
    picture = np.frombuffer(_picture(patched, columns, rows, compression), np.uint8)
    decoded = decode_quietly(lambda: _imdecode(picture))
    if decoded is None or decoded.shape != (rows * len(strips), columns):
        return None
    content = decoded.view(np.uint8).reshape(len(strips), -1)
    if not np.all(content[:, size:] == np.frombuffer(sentinel, np.uint8)):
        return None
    return content[:, :size]


def _imdecode(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16] | None:
    try:
        return cv2.imdecode(picture, cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]
    except cv2.error:
        return None


def _encode(content: bytes) -> tuple[int, int]:
    """Encode bytes as codes of 9 bits: an integer, the first code on top, and its bits."""
    value = bits = 0
    for at, byte in enumerate(content):
        for code in (_CLEAR, byte) if at and at % _RUN == 0 else (byte,):
            value, bits = value << 9 | code, bits + 9
    return value, bits


def _replace_end(strip: memoryview, tail: tuple[int, int]) -> tuple[memoryview, bytes]:
    """Replace the end code by 'clear' and a tail; returns the rest of the strip, and its new end.

    The end code is the last 1 in the strip and the eight bits before it; what follows is padding.
    'Clear' is one less. Without an end code the strip is returned as it is: it then lacks the tail.
    """
    size = len(strip)
    while size > 1 and not strip[size - 1]:
        size -= 1
    last = int.from_bytes(strip[size - 2 : size], "big") if size > 1 else 0
    padding = (last & -last).bit_length() - 1
    if not last or last >> padding & 0x1FF != _END:
        return strip, b""
    value, bits = tail
    fill = (padding - bits) % 8
    end = ((last & 0xFF) >> padding) - 1 << bits | value
    return strip[: size - 1], (end << fill).to_bytes((8 - padding + bits + fill) // 8, "big")


def _picture(
    strips: list[tuple[memoryview, bytes]], columns: int, rows: int, compression: Compression
) -> bytes:
    """Make a TIFF file of 16 bits in native byte order, which nothing swaps, from strips."""
    order = "<" if sys.byteorder == "little" else ">"
    count = len(strips)
    lengths = [len(start) + len(end) for start, end in strips]
    offsets = np.cumsum([8, *lengths[:-1]])
    lists = 8 + sum(lengths)
    is_single = count == 1
    entries = (
        *((256, 1, columns), (257, 1, rows * count), (258, 1, 16), (259, 1, compression)),
        *((262, 1, 1), (273, count, 8 if is_single else lists), (277, 1, 1), (278, 1, rows)),
        (279, count, lengths[0] if is_single else lists + 4 * count),
    )
    tags = [struct.pack(order + "HHII", tag, 4, number, value) for tag, number, value in entries]
    parts: list[bytes | memoryview] = [b"II*\0" if order == "<" else b"MM\0*"]
    parts.append(struct.pack(order + "I", lists + 8 * count))
    parts += (part for strip in strips for part in strip)
    parts.append(struct.pack(f"{order}{2 * count}I", *offsets, *lengths))
    parts += (struct.pack(order + "H", len(tags)), *tags, bytes(4))
    return b"".join(parts)


def _unpack_lzw(strip: bytes, size: int, whole: int) -> npt.NDArray[np.uint8]:
    """Decompress LZW (TIFF 6.0 section 13) with or without an end code."""
    if len(strip) > 1 and strip[0] == 0 and strip[1] & 1:  # 'clear', the lowest bit first
        raise InputError("TIFF in LZW compression of before 1992; save it anew in any compression")
    total, at, width = 8 * len(strip), 0, 9
    first = [bytes((value,)) for value in range(256)] + [b"", b""]
    table = list(first)
    last = b""
    parts: list[bytes] = []
    length, code = 0, -1
    while length < whole and at + width <= total:
        window = int.from_bytes(strip[at >> 3 : (at >> 3) + 3].ljust(3, b"\0"), "big")
        code = window >> (24 - width - (at & 7)) & (2**width - 1)
        at += width
        if code == _CLEAR:
            table, last, width = list(first), b"", 9
            continue
        if code == _END:
            break
        if not last:
            text = table[code] if code < len(table) else b""
        elif code < len(table):
            text = table[code]
            table.append(last + text[:1])
        else:
            text = last + last[:1] if code == len(table) else b""
            table.append(text)
        if not text or len(table) > 4096:
            raise InputError(_DAMAGED)
        if len(table) >= 2**width - 1 and width < 12:
            width += 1
        parts.append(text)
        length += len(text)
        last = text
    # An end code takes at most 12 bits and then fills up the byte; another byte may pad the strip.
    if not size <= length <= whole or (code != _END and total - at >= 12 + 16):
        raise InputError(_WRONG_END)
    return np.frombuffer(b"".join(parts), np.uint8, size)


def _unpack_runs(strip: bytes, size: int, whole: int) -> npt.NDArray[np.uint8]:
    """Decompress PackBits (TIFF 6.0 section 9)."""
    parts: list[bytes] = []
    at = length = 0
    while at + 1 < len(strip) and length <= whole:
        head = strip[at]
        part = b""
        if head < 128:
            part = strip[at + 1 : at + 2 + head]
            at += head + 2
        elif head > 128:
            part = strip[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
        length += len(part)
        parts.append(part)
    if not size <= length <= whole:
        raise InputError(_WRONG_END)
    return np.frombuffer(b"".join(parts), np.uint8, size)
