"""The elements of a DICOM file in front of its pixels, in the encoding in which they are found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from orthoedge.runtime.dicom.decoders import ENCAPSULATED, unread_syntax
from orthoedge.runtime.dicom.encoding import (
    BIG_ENDIAN,
    EXPLICIT,
    HEAD,
    IMPLICIT,
    NATIVE,
    find_elements,
    find_encoding,
)
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PIXEL_DATA = 0x7FE00010
_NAMES = {IMPLICIT: "implicit VR", EXPLICIT: "explicit VR", BIG_ENDIAN: "explicit VR big endian"}


def read_elements(file: BinaryIO, wanted: list[str | int]) -> tuple[str, Dataset, tuple[str, ...]]:
    """Read elements up to PixelData, at whose first byte the file stands afterwards.

    Where the header announces another byte order or VR than the data set has, the data set is read
    as found: the first elements tell (`encoding.py`), and pydicom tells implicit from explicit VR.

    Args:
        file: the whole file.
        wanted: keywords or tags; others are skipped.

    Returns:
        Transfer syntax UID announced, or that of the encoding if none is; elements; notes on what
        the header lacks or has wrong.

    Raises:
        InputError: a transfer syntax that is not read, or none that can be recognized.
    """
    from pydicom.filereader import read_dataset

    file.seek(0)
    start = find_elements(file.read(HEAD))
    notes: tuple[str, ...] = () if start == 132 else ("DICOM without its preamble",)
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
    if syntax not in (*NATIVE, *ENCAPSULATED):
        raise unread_syntax(syntax)
    from pydicom.tag import Tag

    file.seek(at)
    announced = syntax if syntax in NATIVE else EXPLICIT
    little = (found or announced) != BIG_ENDIAN
    dataset = read_dataset(
        file,
        is_implicit_VR=(found or announced) == IMPLICIT,
        is_little_endian=little,
        stop_when=lambda tag, vr, length: tag == _PIXEL_DATA,
        specific_tags=[Tag(tag) for tag in wanted],
    )
    at, size = file.tell(), file.seek(0, os.SEEK_END)
    if at > size or (at == size and any(map(_is_cut, dataset.values()))):
        raise InputError("DICOM with an element beyond its end: cut, or its VR is not as announced")
    file.seek(at)
    implicit, little = map(bool, dataset.original_encoding)
    if (implicit, little) != (announced == IMPLICIT, announced != BIG_ENDIAN):
        encoding = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
        notes += (
            f"elements in {_NAMES[encoding]}, announced as {_NAMES[announced]}: read as found",
        )
    return syntax, dataset, notes


def _is_cut(element: Any) -> bool:
    """Return whether the file ends inside the value of an element as read."""
    return isinstance(element.value, bytes) and len(element.value) < getattr(element, "length", 0)
