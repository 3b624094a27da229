"""A hundred files that hold an identifier inside, and another in their name."""

import struct
import zlib

import cv2
import numpy as np

from tests.helpers.hostile.dicom_bytes import EXPLICIT, Sequence, encode, file_bytes
from tests.helpers.hostile.dicom_truth import Case, elements_of

GOOD = Case("MONOCHROME2", None, "absent", "LINEAR", 12, False)
DESCRIBING = """
00080050SH 00080080LO 00080081ST 00080090PN 00080092ST 00080094SH 00081010SH 00081030LO 0008103eLO
00081040LO 00081048PN 00081050PN 00081060PN 00081070PN 00081080LO 00081090LO 00100010PN 00100020LO
00100021LO 00101000LO 00101001PN 00101005PN 00101040LO 00101060PN 00101090LO 00102000LO 00102110LO
00102154SH 00102160SH 00102180SH 001021b0LT 001021f0LO 00104000LT 00180015CS 00181000LO 00181030LO
00200010SH 00204000LT 00321032PN 00321060LO 00324000LT 00380010LO 00380300LO 00380400LO 00380500LO
00384000LT 00400006PN 00400241AE 00400242SH 00400254LO 00401004LO 0040a123PN 00281055LO 00080018UI
"""
"""Elements that say who, where or when; intake reads none of them."""
READ = """
00080060CS 00080068CS 00280301CS 00280004CS 00281056CS 20500020CS 00281050DS 00281051DS 00281052DS
00281053DS 00280030DS 00181164DS 00280008IS 00280006US 00280120US 00280010US 00280103US 00283000OB
"""
"""Elements that intake does read: an identifier there is a mistake, and is refused or ignored."""
PNG_CHUNKS = ("tEXt", "zTXt", "iTXt", "eXIf", "iCCP", "tIME", "sPLT", "prVt", "gAMA", "pHYs")
JPEG_SEGMENTS = (0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE)
TIFF_TAGS = (270, 271, 305, 315, 316, 700, 33432, 65000)


def files():
    """(name of the file with an identifier in it, its bytes, both identifiers), a hundred times."""
    makers = [("dcm", describing, tag) for tag in DESCRIBING.split()]
    makers += [("dcm", read, tag) for tag in READ.split()]
    makers += [("dcm", private, 0), ("dcm", nested, 0), ("dcm", preamble, 0), ("dcm", syntax, 0)]
    makers += [("png", png, kind) for kind in PNG_CHUNKS]
    makers += [("jpg", jpeg, marker) for marker in JPEG_SEGMENTS]
    makers += [("tif", tiff, tag) for tag in TIFF_TAGS]
    for number, (suffix, make, where) in enumerate(makers):
        inside, outside = f"Geheim{number:03d}Innen", f"Geheim{number:03d}Aussen"
        yield f"{outside}.{suffix}", make(where, inside), (inside, outside)


def describing(tag, text):
    return file_bytes([*elements_of(GOOD), (int(tag[:8], 16), tag[8:], text)], EXPLICIT)


def read(tag, text):
    number = int(tag[:8], 16)
    kept = [one for one in elements_of(GOOD) if one[0] != number]
    return file_bytes([*kept, (number, tag[8:], (text + " ").encode()[: 2 * (len(text) // 2 + 1)])])


def private(_, text):
    return file_bytes([*elements_of(GOOD), (0x00090010, "LO", text), (0x00091001, "LO", text)])


def nested(_, text):
    step = Sequence([[(0x00400007, "LO", text), (0x00400009, "SH", text)]])
    return file_bytes([*elements_of(GOOD), (0x00400275, "SQ", step)])


def preamble(_, text):
    data = file_bytes(elements_of(GOOD))
    return text.encode().ljust(128, b"\0") + data[128:]


def syntax(_, text):
    meta = encode([(0x00020010, "UI", text), (0x00020016, "AE", text)], EXPLICIT)
    return bytes(128) + b"DICM" + meta + encode(elements_of(GOOD), EXPLICIT)


def picture():
    return np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)


def png(kind, text):
    return with_chunk(picture(), kind, text)


def with_chunk(pixels, kind, text):
    """A PNG with an identifier as the content of a chunk; of some kinds libpng complains."""
    plain = cv2.imencode(".png", pixels)[1].tobytes()
    name = text.encode() + b"\0"
    content = {
        "zTXt": name + b"\0" + zlib.compress(text.encode()),
        "iTXt": name + b"\0\0\0\0" + text.encode(),
        "iCCP": name + b"\0" + zlib.compress(np.random.default_rng(0).bytes(300)),
    }.get(kind, name + text.encode())
    body = kind.encode() + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return plain[:33] + chunk + plain[33:]  # after the signature and IHDR


def jpeg(marker, text):
    plain = cv2.imencode(".jpg", picture())[1].tobytes()
    content = {0xE1: b"Exif\0\0", 0xE2: b"ICC_PROFILE\0"}.get(marker, b"") + text.encode()
    return plain[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + plain[2:]


def tiff(tag, text):
    """One strip of 8 bits, and a text in a tag of its own."""
    pixels, words = picture(), text.encode() + b"\0"
    height, width = pixels.shape
    entries = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
        273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, pixels.size),
        tag: (2, len(words), 8 + pixels.size),
    }  # fmt: skip
    at = 8 + pixels.size + len(words) + len(words) % 2
    head = struct.pack("<2sHI", b"II", 42, at)
    rows = b"".join(struct.pack("<HHII", key, *entries[key]) for key in sorted(entries))
    words += bytes(len(words) % 2)
    return head + pixels.tobytes() + words + struct.pack("<H", len(entries)) + rows + bytes(4)
