"""Transfer syntaxes, and the encoding of a DICOM file as found in its first elements.

Old CR units and some exports leave out the preamble, the `DICM` or the whole file meta information
(PS3.10 7.1), and some announce another encoding than they have. The data set is recognized by its
elements: group, VR and length (PS3.5 7.1).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import struct
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

IMPLICIT, EXPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
NATIVE = {
    IMPLICIT: "implicit VR",
    EXPLICIT: "explicit VR",
    BIG_ENDIAN: "explicit VR big endian",
}
"""Transfer syntaxes whose samples are stored uncompressed, and their names."""
JPEG, RLE = "1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5"
CODECS = {
    **dict.fromkeys((f"{JPEG}{n}" for n in (50, 51, 52, 53, 54, 55, 56)), "JPEG"),
    **dict.fromkeys((f"{JPEG}{n}" for n in (57, 58, 65, 66, 70)), "JPEG lossless"),
    **dict.fromkeys((f"{JPEG}{n}" for n in (80, 81)), "JPEG-LS"),
    **dict.fromkeys((f"{JPEG}{n}" for n in (90, 91, 92, 93)), "JPEG 2000"),
    **dict.fromkeys((f"{JPEG}{n}" for n in (201, 202, 203)), "HTJ2K"),
    RLE: "RLE",
}
"""Codec by transfer syntax."""
READ_SYNTAXES = (*NATIVE, *CODECS, "1.2.840.10008.1.2.1.98")  # the last: in fragments
"""Transfer syntaxes that are read."""
_NEW_NAMES = {  # that pydicom 3.0 does not have
    f"{JPEG}110": "JPEG XL Lossless",
    f"{JPEG}111": "JPEG XL JPEG Recompression",
    f"{JPEG}112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPORT = "export it uncompressed (Explicit VR Little Endian)"

HEAD = 264
"""Bytes from the start of a file that tell whether it is DICOM."""

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # lengths of 32 bits
VRS = _LONG | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Every value representation of PS3.5 6.2."""
_LAST_META = 0x0102  # PS3.10 7.1
_PIXEL_DATA, _CHARACTER_SET, _TRANSFER_SYNTAX = 0x7FE00010, 0x00080005, 0x00020010
_SEQUENCES = frozenset((0x00283000, 0x00283010))  # modality and VOI LUT
_UNDEFINED = 2**32 - 1
_LONGEST = 2**16  # bytes of a sequence of undefined length after a broken element
_MOST_BROKEN, _SOME_ELEMENTS, _MOST_BEFORE = 16, 3, 100_000
_PLAIN = 2**16  # bytes from the start of a file; a longer header is read by pydicom
_EXPLICIT_HEAD, _IMPLICIT_HEAD = struct.Struct("<HH2sH"), struct.Struct("<HHI")
_UID, _CODES = rb"[0-9.]+", rb"[A-Z0-9_ \\]*"
_MOST_STARTS, _MOST_ELEMENTS, _MOST_ENDS = 10_000, 1_000, 100
_NEAR = 2**20  # bytes after a broken element in which the next one is looked for
# What can be left out where it cannot be parsed: spacings and sequences. The wrong length of any
# other element that is wanted refuses the file: samples or grey levels follow from it.
_SPARED = frozenset(
    (0x00181114, 0x00181164, 0x00182010, 0x00280030, 0x00280A02, 0x00283000, 0x00283010)
)
# Where an element may begin: any VR; in implicit VR a low group and length, or the last two wanted.
_EXPLICIT_START = b"(?s)(?=....(?:" + b"|".join(sorted(VRS)) + b"))"
_IMPLICIT_START = rb"(?s)(?=[\x08-\xff]\0....\0\0|\x50\x20\x20\0|\xe0\x7f\x10\0)"


def find_elements(head: bytes) -> int | None:
    """Return the offset of the first element of a DICOM file, or None for any other file.

    Args:
        head: the first 264 bytes of the file, or all of a shorter one.

    Returns:
        132 after a preamble and `DICM`, 4 after `DICM` alone, 128 after an empty preamble; 0 where
        the file begins with file meta information (group 0002) or the data set (group 0008).
    """
    if head[128:132] == b"DICM":
        return 132
    start = 4 if head.startswith(b"DICM") else 0 if any(head[:128]) else 128
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
            return bool(tag[0] >= 8)  # the data set may be encoded differently
        if not last < tag <= (0x7FE0, 0x10) or (not count and tag[0] not in (2, 8)):
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


class Raw(NamedTuple):
    """An element as it stands in the file, in the fields of pydicom's `RawDataElement`."""

    VR: str | None
    """None in implicit VR."""
    value: bytes
    is_little_endian: bool


class Header(NamedTuple):
    """Elements of a data set before PixelData, and their encoding."""

    elements: Mapping[int, Raw] | Dataset
    """By tag, not yet converted; of pydicom where the header is not a plain one."""
    is_implicit: bool
    is_little_endian: bool


def read_elements(
    file: BinaryIO, wanted: tuple[str | int, ...]
) -> tuple[str, Header, tuple[str, ...]]:
    """Read elements up to PixelData, at whose first byte the file stands afterwards.

    A plain header is one of little-endian elements in order, each of a defined length, without any
    of the sequences that are wanted. Any other one is read by pydicom, which is imported only then.
    Where the header announces another byte order or VR than the data set has, the data set is read
    as found: the first elements tell, and pydicom tells implicit from explicit VR.

    Args:
        file: the whole file.
        wanted: keywords or tags; others are skipped.

    Returns:
        Transfer syntax UID announced, or that of the encoding if none is; elements; notes on what
        the header lacks or has wrong.

    Raises:
        InputError: a transfer syntax that is not read, or none that can be recognized.
    """
    file.seek(0)
    head = file.read(_PLAIN)
    start = find_elements(head[:HEAD])
    notes: tuple[str, ...] = () if start == 132 else ("DICOM without its preamble and DICM",)
    plain = _read_plain(head, start or 0, _numbers(wanted))
    if plain is not None:
        syntax, header, at = plain
        file.seek(at)
        return syntax, header, notes
    from pydicom.filereader import read_dataset

    file.seek(start or 0)
    # Before anything is inflated; the length of the group, which may be wrong, is not needed.
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    at = file.tell()
    found = find_encoding(file.read(HEAD))
    syntax = str(meta.get("TransferSyntaxUID", "") or "")
    if not syntax:
        if found is None:
            raise InputError("DICOM without a transfer syntax, in no encoding that is recognized")
        syntax = found
        notes += ("no transfer syntax in file: the encoding was recognized by its elements",)
    if syntax not in READ_SYNTAXES:
        raise unread_syntax(syntax)
    file.seek(at)
    announced = syntax if syntax in NATIVE else EXPLICIT
    dataset, broken = _read_data_set(file, found or announced, _tags(wanted))
    notes += broken
    at, size = file.tell(), file.seek(0, os.SEEK_END)
    if at > size or (at == size and _any_cut(dataset)):
        raise InputError("DICOM with an element beyond its end: cut, or its VR is not as announced")
    file.seek(at)
    implicit, little = map(bool, dataset.original_encoding)
    if (implicit, little) != (announced == IMPLICIT, announced != BIG_ENDIAN):
        encoding = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
        notes += (
            f"elements in {NATIVE[encoding]}, announced as {NATIVE[announced]}: read as found",
        )
    return syntax, Header(dataset, implicit, little), notes


def _read_plain(head: bytes, start: int, wanted: frozenset[int]) -> tuple[str, Header, int] | None:
    """Read a plain header, with its transfer syntax and the offset of PixelData; None for others.

    Args:
        head: of the file.
        start: offset of its first element.
        wanted: tags.
    """
    try:
        meta, at, _ = _walk(head, start, True, frozenset((_TRANSFER_SYNTAX,)), 0x00030000)
        value = meta[_TRANSFER_SYNTAX].value.rstrip(b"\0 ")
        syntax = value.decode("ascii") if re.fullmatch(_UID, value) else ""
        encoding = find_encoding(head[at : at + HEAD])
        announced = syntax if syntax in NATIVE else EXPLICIT
        if syntax not in READ_SYNTAXES or encoding != announced or encoding == BIG_ENDIAN:
            return None
        elements, at, tag = _walk(head, at, encoding == EXPLICIT, wanted, _PIXEL_DATA)
    except (struct.error, KeyError, ValueError):
        return None
    return (
        (syntax, Header(elements, encoding == IMPLICIT, True), at) if tag == _PIXEL_DATA else None
    )


def _walk(
    head: bytes, at: int, explicit: bool, wanted: frozenset[int], limit: int
) -> tuple[dict[int, Raw], int, int]:
    """Read elements up to the first tag of `limit` or above, whose offset and tag are returned too.

    Raises:
        ValueError: not in order, of no VR, of undefined length, beyond `head`, or a sequence that
            is wanted.
        struct.error: `head` ends before the limit.
    """
    elements: dict[int, Raw] = {}
    last = 0
    while True:
        if explicit:
            group, number, vr, length = _EXPLICIT_HEAD.unpack_from(head, at)
        else:
            group, number, length = _IMPLICIT_HEAD.unpack_from(head, at)
        tag = group << 16 | number
        if tag >= limit:
            return elements, at, tag
        if explicit and vr not in VRS:
            raise ValueError
        value = at + 8
        if explicit and vr in _LONG:
            if length:  # reserved
                raise ValueError
            (length,) = struct.unpack_from("<I", head, value)
            value += 4
        at = value + length
        if tag <= last or at > len(head):
            raise ValueError
        if tag in wanted:
            if tag in _SEQUENCES or (explicit and vr == b"SQ"):
                raise ValueError
            elements[tag] = Raw(vr.decode() if explicit else None, head[value:at], True)
        elif tag == _CHARACTER_SET and not (
            re.fullmatch(_CODES, head[value:at]) and (not explicit or vr == b"CS")
        ):
            raise ValueError
        last = tag


class _Trail:
    """The last elements that pydicom meets before it reaches PixelData or goes astray."""

    def __init__(self, start: int) -> None:
        self.last = deque([(0, start)] * 3, maxlen=3)
        """Tag and offset of the value of the last elements."""
        self._count, self._is_astray = 0, False

    def add(self, tag: int, at: int) -> bool:
        """Add an element, and return whether to stop."""
        self._count += 1
        self._is_astray = self._is_astray or not self.last[-1][0] <= tag <= _PIXEL_DATA
        if self._is_astray or tag == _PIXEL_DATA or self._count > _MOST_BEFORE:
            return True
        self.last.append((tag, at))
        return False


def _read_data_set(
    file: BinaryIO, encoding: str, wanted: list[BaseTag | int], most: int = _MOST_BROKEN
) -> tuple[Dataset, tuple[str, ...]]:
    """Read up to PixelData; up to `most` elements that cannot be parsed are left out with notes."""
    from pydicom.filereader import read_dataset

    explicit, order = encoding != IMPLICIT, ">" if encoding == BIG_ENDIAN else "<"
    start = file.tell()

    def read(stop_when: Callable[[Any, str | None, int], bool]) -> Dataset:
        return read_dataset(file, not explicit, order == "<", None, stop_when, specific_tags=wanted)

    dataset, error = None, None
    try:
        dataset = read(lambda tag, vr, length: bool(tag == _PIXEL_DATA))
    except MemoryError:
        raise
    except Exception as caught:  # pydicom raises another one for each kind of damage
        error = caught
    end = file.tell()
    at_pixels = file.read(4) == struct.pack(order + "HH", 0x7FE0, 0x10)
    size = end if at_pixels else file.seek(0, os.SEEK_END)
    file.seek(end)
    if dataset is not None and (at_pixels or (end == size and not _any_cut(dataset))):
        return dataset, ()
    trail = _Trail(start)
    # What fails although PixelData is reached is the conversion of the character set.
    last = _CHARACTER_SET if at_pixels else _PIXEL_DATA
    file.seek(start)
    with contextlib.suppress(Exception):
        read(lambda tag, vr, length: trail.add(tag, file.tell()) or tag == last)
    # What follows a length that is too short may look like an element of a higher tag, and the
    # next element is one from which all others can be parsed, or else some of them.
    for last_but, enough in itertools.product((1, 2), (_MOST_ELEMENTS, _SOME_ELEMENTS)):
        (_, before), (tag, at) = list(trail.last)[-last_but - 1 :][:2]
        base = max(start, at - 4)  # the length may be one of 2 bytes, not of 4
        file.seek(base)
        near = file.read(_NEAR)
        following = _find_next(near, tag, order, explicit, enough)
        file.seek(before)
        skipped = file.read(min(max(base - before, 0), _NEAR)) + near[:following]
        if most and following is not None and _is_spared(tag, skipped, wanted, order):
            break
    else:
        file.seek(end)
        if dataset is None:
            raise InputError("damaged DICOM: an element of its header cannot be parsed") from error
        return dataset, ()
    file.seek(start)
    first = read(lambda *_: file.tell() >= at)
    file.seek(base + following)
    dataset, notes = _read_data_set(file, encoding, wanted, most - 1)
    dataset.update(dict(first.items()))
    note = f"{_name(tag)} left out: it cannot be parsed"
    return dataset, (note, *(other for other in notes if other != note))


def _is_spared(tag: int, skipped: bytes, wanted: list[BaseTag | int], order: str) -> bool:
    """Return whether an element and the bytes around it can be left out."""
    needed = set(map(int, wanted)) - _SPARED
    return tag not in needed and not any(
        struct.pack(order + "HH", other >> 16, other & 0xFFFF) in skipped for other in needed
    )


def _find_next(near: bytes, last: int, order: str, explicit: bool, enough: int) -> int | None:
    """Return where elements above `last` begin that lead to PixelData, or that are `enough`."""
    pattern = _EXPLICIT_START if explicit else _IMPLICIT_START
    passed: set[int] = set()
    for match in itertools.islice(re.finditer(pattern, near), _MOST_STARTS):
        if _leads_to_pixels(near, match.start(), last, order, explicit, passed, enough):
            return match.start()
    return None


def _leads_to_pixels(
    near: bytes, at: int, last: int, order: str, explicit: bool, passed: set[int], enough: int
) -> bool:
    """Return whether elements do so or are enough, unless from one that was passed before."""
    known = len(passed)
    while at + 12 <= len(near) and at not in passed and len(passed) < _MOST_ELEMENTS:
        group, number = struct.unpack_from(order + "HH", near, at)
        tag, vr = group << 16 | number, near[at + 4 : at + 6]
        if not last < tag <= _PIXEL_DATA or (explicit and vr not in VRS):
            return False
        if tag == _PIXEL_DATA or len(passed) - known == enough:
            return True
        passed.add(at)
        if explicit and vr not in _LONG:
            (length,) = struct.unpack_from(order + "H", near, at + 6)
            at += 8
        else:
            at += 8 if explicit else 4
            (length,) = struct.unpack_from(order + "I", near, at)
            at += 4
        if length == _UNDEFINED:
            end = _find_end(near, at, tag, order)
            if end is None:
                return False
            at = end
        else:
            at += length
        last = tag
    return False


def _find_end(near: bytes, at: int, tag: int, order: str) -> int | None:
    """Return the end of a sequence: a delimiter before an element of a higher tag."""
    delimiter = struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
    for _ in range(_MOST_ENDS):
        at = near.find(delimiter, at, at + _LONGEST) + 8
        if at < 8 or at + 4 > len(near):
            return None
        group, number = struct.unpack_from(order + "HH", near, at)
        if tag < group << 16 | number <= _PIXEL_DATA:
            return at
    return None


def _name(tag: int) -> str:
    """Return the keyword of the standard, which repeats nothing of the file."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag) or "an element"


@cache
def _numbers(wanted: tuple[str | int, ...]) -> frozenset[int]:
    from orthoedge.runtime.dicom.elements import ELEMENTS  # not for pictures, which import this

    return frozenset(tag if isinstance(tag, int) else ELEMENTS[tag].tag for tag in wanted)


@cache
def _tags(wanted: tuple[str | int, ...]) -> list[BaseTag | int]:
    from pydicom.tag import Tag

    return [Tag(tag) for tag in wanted]


def _any_cut(dataset: Dataset) -> bool:
    """Return whether the file ends inside the value of an element as read."""
    lengths = ((getattr(raw, "length", None) or 0, raw.value) for raw in dataset.values())
    return any(isinstance(value, bytes) and len(value) < length for length, value in lengths)


def unread_syntax(syntax: str) -> InputError:
    """Return the error for a transfer syntax that is not read here, with what to do about it."""
    from pydicom.uid import UID

    if syntax == _DEFLATED:
        return InputError(
            "DICOM in a deflated transfer syntax, which can expand to any size; inflate it with "
            "dcmtk: `dcmconv +te FILE INFLATED`"
        )
    name = _NEW_NAMES.get(syntax, UID(syntax).name)
    if name == syntax:  # of no standard, and not echoed: it may hold anything
        name = "of a private kind"
    if "eflate" in name:
        name += ", a deflated one"
    return InputError(f"DICOM in transfer syntax {name}, which is not read here; {_EXPORT}")
