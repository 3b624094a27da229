"""DICOM files put together byte by byte, so that no library's idea of them is taken for granted.

Source: PS3.5 chapter 7 (data elements) and annex A (transfer syntaxes), PS3.10 chapter 7.
"""

import struct

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
SYNTAXES = (EXPLICIT, IMPLICIT, BIG)

_LONG = frozenset(("OB", "OW", "SQ", "UN", "UT"))  # an explicit length of four bytes
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "OW": "H", "AT": "H"}


class Sequence(list):
    """Items of an element of VR SQ; each is a list of elements."""


def element(tag, vr, value, syntax=EXPLICIT, length=None):
    """One element; `length` is what is written in place of the true one."""
    order = ">" if syntax == BIG else "<"
    if isinstance(value, Sequence):
        items = (encode(item, syntax) for item in value)
        data = b"".join(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(it)) + it for it in items)
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode() + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    else:
        data = struct.pack(f"{order}{len(value)}{_NUMBERS[vr]}", *value)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    size = len(data) if length is None else length
    if syntax == IMPLICIT:
        return head + struct.pack("<I", size) + data
    if vr in _LONG:
        return head + vr.encode() + struct.pack(order + "HI", 0, size) + data
    return head + vr.encode() + struct.pack(order + "H", size) + data


def pixel_elements(stored):
    """Elements of uint16 (H, W) pixels, 12 bits in their full window: tag to VR and value."""
    rows, columns = stored.shape
    return {
        0x00280002: ("US", [1]),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", [rows]),
        0x00280011: ("US", [columns]),
        0x00280100: ("US", [16]),
        0x00280101: ("US", [12]),
        0x00280102: ("US", [11]),
        0x00280103: ("US", [0]),
        0x00281050: ("DS", "2048"),
        0x00281051: ("DS", "4096"),
        0x7FE00010: ("OW", stored.astype("<u2").tobytes()),
    }


def encode(elements, syntax):
    """A data set of (tag, VR, value) or (tag, VR, value, wrong length), in order of the tags."""
    ordered = sorted(elements, key=lambda one: one[0])
    return b"".join(element(*one[:3], syntax, *one[3:]) for one in ordered)


_OBJECT = ((0x00020002, "UI", "1.2.840.10008.5.1.4.1.1.1"), (0x00020003, "UI", "1.2.3"))


def file_bytes(elements, syntax=EXPLICIT, identity=_OBJECT):
    """A whole file: preamble, file meta information with class and instance, data set."""
    meta = encode(
        [(0x00020001, "OB", b"\0\1"), *identity, (0x00020010, "UI", syntax)],
        EXPLICIT,
    )
    group = element(0x00020000, "UL", [len(meta)])
    return bytes(128) + b"DICM" + group + meta + encode(elements, syntax)


def words(values, bits, syntax):
    """Samples as the value of an OW element: 8 or 16 bits each, two of 8 bits to a word."""
    order = ">" if syntax == BIG else "<"
    if bits > 8:
        return struct.pack(f"{order}{len(values)}H", *(value & 0xFFFF for value in values))
    data = bytes(value & 0xFF for value in values)
    data += b"\0" * (len(data) % 2)
    pairs = struct.unpack(f"<{len(data) // 2}H", data)
    return struct.pack(f"{order}{len(pairs)}H", *pairs)
