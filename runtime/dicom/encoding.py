"""The encoding of a DICOM file as found in its first elements, whatever its header announces.

Old CR units and some exports leave out the preamble, the `DICM` or the whole file meta information
(PS3.10 7.1). Their data set is recognized by its elements: group, VR and length (PS3.5 7.1).
"""

from __future__ import annotations

import struct

IMPLICIT, EXPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
HEAD = 264
"""Bytes from the start of a file that tell whether it is DICOM."""

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # lengths of 32 bits
VRS = _LONG | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Every value representation of PS3.5 6.2."""
_LAST_META = 0x0102  # PS3.10 7.1
_PIXEL_DATA = (0x7FE0, 0x10)


def find_elements(head: bytes) -> int | None:
    """Return the offset of the first element of a DICOM file, or None for any other file.

    Args:
        head: the first 264 bytes of the file, or all of a shorter one.

    Returns:
        132 after a preamble and `DICM`; 4 after a `DICM` alone; 0 where the file begins with the
        file meta information (group 0002) or with the data set (group 0008).
    """
    if head[128:132] == b"DICM":
        return 132
    start = 4 if head.startswith(b"DICM") else 0
    return None if find_encoding(head[start:]) is None else start


def find_encoding(head: bytes) -> str | None:
    """Return the encoding of the elements at the start of `head`, which must be group 0002 or 0008.

    Returns:
        The UID of the uncompressed transfer syntax that is encoded alike, or None.
    """
    for syntax, order in ((EXPLICIT, "<"), (IMPLICIT, "<"), (BIG_ENDIAN, ">")):
        if _are_elements(head, order, syntax != IMPLICIT):
            return syntax
    return None


def _are_elements(head: bytes, order: str, explicit: bool) -> bool:
    """Return whether `head` begins with elements in ascending order and of known VRs."""
    at, count, last = 0, 0, (0, 0)
    while at + 12 <= len(head):
        tag = struct.unpack_from(order + "HH", head, at)
        if last[0] == 2 and tag[0] != 2:
            return tag[0] >= 8  # the data set may be encoded differently
        if not last < tag <= _PIXEL_DATA or (not count and tag[0] not in (2, 8)):
            return False
        if tag[0] == 2 and tag[1] > _LAST_META:
            return False
        vr = head[at + 4 : at + 6]
        if explicit and vr not in VRS:
            return False
        if explicit and vr not in _LONG:
            (length,) = struct.unpack_from(order + "H", head, at + 6)
            at += 8
        else:
            if explicit and head[at + 6 : at + 8] != bytes(2):
                return False
            at += 8 if explicit else 4
            (length,) = struct.unpack_from(order + "I", head, at)
            at += 4
        if tag[1] == 0 and length != 4:  # the length of a group
            return False
        count, last = count + 1, tag
        if length == 2**32 - 1:  # a sequence of items
            return head[at : at + 4] == struct.pack(order + "HH", 0xFFFE, 0xE000)
        at += length
    return count > 1 or (explicit and count == 1 and vr in _LONG)
