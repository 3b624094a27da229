"""DICOM files put together byte by byte: any codestream, any fragments, any header around them."""

from __future__ import annotations

import struct

import numpy as np

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
EXPLICIT, IMPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2"))
JPEG = "1.2.840.10008.1.2.4."
_LONG = ("OB", "OW", "UN", "SQ")


def picture(bits: int = 12, height: int = 96, width: int = 80) -> np.ndarray:
    """A limb on dark that uses every bit: uint8 or uint16 (height, width)."""
    y, x = np.mgrid[:height, :width].astype(float)
    bone = np.exp(-(((x - width * 0.4 - y * 0.1) / (width * 0.15)) ** 2))
    noise = np.random.default_rng(0).normal(0, 0.01, (height, width))
    values = np.clip(0.1 + 0.5 * bone + 0.3 * y / height + noise, 0, 1) * (2**bits - 1)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def element(group: int, number: int, vr: str, value: bytes, encoding: str = EXPLICIT) -> bytes:
    """One element of defined length."""
    order = ">" if encoding == BIG_ENDIAN else "<"
    value += b"\0" * (len(value) % 2) if vr == "UI" else b" " * (len(value) % 2 * (vr in "CSDS"))
    tag = struct.pack(order + "HH", group, number)
    if encoding == IMPLICIT:
        return tag + struct.pack("<I", len(value)) + value
    if vr in _LONG:
        return tag + vr.encode() + struct.pack(order + "HI", 0, len(value)) + value
    return tag + vr.encode() + struct.pack(order + "H", len(value)) + value


def head(
    samples: np.ndarray,
    bits: int,
    encoding: str = EXPLICIT,
    allocated: int | None = None,
    signed: int = 0,
    frames: int | None = None,
) -> bytes:
    """The data set of a DX image before its pixels, with a window over all its stored bits."""
    order = ">" if encoding == BIG_ENDIAN else "<"
    allocated = allocated or 8 * samples.dtype.itemsize
    center = 0 if signed else 2 ** (bits - 1)

    def number(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *values)

    elements: list[tuple[int, int, str, bytes]] = [
        (0x8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.1.1"),
        (0x8, 0x18, "UI", b"1.2.3"),
        (0x8, 0x60, "CS", b"DX"),
        (0x28, 0x2, "US", number(1)),
        (0x28, 0x4, "CS", b"MONOCHROME2"),
        *([(0x28, 0x8, "IS", str(frames).encode().ljust(2))] if frames else []),
        (0x28, 0x10, "US", number(samples.shape[0])),
        (0x28, 0x11, "US", number(samples.shape[1])),
        (0x28, 0x100, "US", number(allocated)),
        (0x28, 0x101, "US", number(bits)),
        (0x28, 0x102, "US", number(bits - 1)),
        (0x28, 0x103, "US", number(signed)),
        (0x28, 0x1050, "DS", str(center).encode()),
        (0x28, 0x1051, "DS", str(2**bits).encode()),
        (0x28, 0x1056, "CS", b"LINEAR_EXACT"),
    ]
    return b"".join(element(*each, encoding) for each in elements)


def meta(syntax: str | None) -> bytes:
    """File meta information with the right group length; without a syntax for None."""
    rest = element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.1.1") + element(2, 3, "UI", b"1.2.3")
    rest += b"" if syntax is None else element(2, 0x10, "UI", syntax.encode())
    return element(2, 0, "UL", struct.pack("<I", len(rest))) + rest


PREAMBLE = bytes(128) + b"DICM"


def items(*fragments: bytes, table: bytes | None = b"", end: bytes = DELIMITER) -> bytes:
    """Fragments as a value of undefined length; no offset table for None."""
    parts = fragments if table is None else (table, *fragments)
    return b"".join(ITEM + struct.pack("<I", len(part)) + part for part in parts) + end


def undefined(value: bytes, vr: str = "OB") -> bytes:
    """PixelData of undefined length."""
    return b"\xe0\x7f\x10\0" + vr.encode() + b"\0\0\xff\xff\xff\xff" + value


def compressed(
    stream: bytes, samples: np.ndarray, bits: int, syntax: str, pad: bytes = b"\0", **options: int
) -> bytes:
    """A whole file with one fragment, padded to an even length with `pad`."""
    stream += pad * (len(stream) % 2)
    return PREAMBLE + meta(syntax) + head(samples, bits, **options) + undefined(items(stream))


def native(samples: np.ndarray, bits: int, **options: int) -> bytes:
    """The same picture, uncompressed in explicit VR little endian."""
    value = element(0x7FE0, 0x10, "OW", samples.tobytes())
    return PREAMBLE + meta(EXPLICIT) + head(samples, bits, **options) + value
