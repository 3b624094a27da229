"""Elements of a DICOM data set, read one by one behind a guard.

An optional element never costs the image: where it is malformed it is left out, as if the file did
not have it, and a note says so. A note names the element, never its value: that may be patient
data.

Values are decoded here from the bytes of the file. pydicom raises a different exception for each
kind of damage, and for some only when the element is used.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_TEXT = frozenset(("AE", "CS", "DS", "IS", "LO", "LT", "SH", "ST", "UC", "UI", "UT"))
# As PS3.5 6.2 writes decimal strings, or with a comma in place of the point.
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = 1e12  # no value of a radiograph comes near it


class _Value(NamedTuple):
    vr: str
    data: bytes
    little: bool


def _is_any(value: float) -> bool:
    return True


class _Entry(NamedTuple):
    tag: int
    vr: str
    """Of two that are possible the first, which is unsigned."""
    is_multiple: bool = True
    """Whether the standard allows several values."""


ELEMENTS = {
    "SOPClassUID": _Entry(0x00080016, "UI", False),
    "Modality": _Entry(0x00080060, "CS", False),
    "PresentationIntentType": _Entry(0x00080068, "CS", False),
    "EstimatedRadiographicMagnificationFactor": _Entry(0x00181114, "DS", False),
    "ImagerPixelSpacing": _Entry(0x00181164, "DS"),
    "ShutterShape": _Entry(0x00181600, "CS"),
    "ShutterLeftVerticalEdge": _Entry(0x00181602, "IS", False),
    "ShutterRightVerticalEdge": _Entry(0x00181604, "IS", False),
    "ShutterUpperHorizontalEdge": _Entry(0x00181606, "IS", False),
    "ShutterLowerHorizontalEdge": _Entry(0x00181608, "IS", False),
    "CenterOfCircularShutter": _Entry(0x00181610, "IS"),
    "RadiusOfCircularShutter": _Entry(0x00181612, "IS", False),
    "VerticesOfThePolygonalShutter": _Entry(0x00181620, "IS"),
    "NominalScannedPixelSpacing": _Entry(0x00182010, "DS"),
    "SamplesPerPixel": _Entry(0x00280002, "US", False),
    "PhotometricInterpretation": _Entry(0x00280004, "CS", False),
    "NumberOfFrames": _Entry(0x00280008, "IS", False),
    "Rows": _Entry(0x00280010, "US", False),
    "Columns": _Entry(0x00280011, "US", False),
    "PixelSpacing": _Entry(0x00280030, "DS"),
    "PixelAspectRatio": _Entry(0x00280034, "IS"),
    "BitsAllocated": _Entry(0x00280100, "US", False),
    "BitsStored": _Entry(0x00280101, "US", False),
    "HighBit": _Entry(0x00280102, "US", False),
    "PixelRepresentation": _Entry(0x00280103, "US", False),
    "PixelPaddingValue": _Entry(0x00280120, "US", False),
    "PixelPaddingRangeLimit": _Entry(0x00280121, "US", False),
    "BurnedInAnnotation": _Entry(0x00280301, "CS", False),
    "PixelSpacingCalibrationType": _Entry(0x00280A02, "CS", False),
    "WindowCenter": _Entry(0x00281050, "DS"),
    "WindowWidth": _Entry(0x00281051, "DS"),
    "RescaleIntercept": _Entry(0x00281052, "DS", False),
    "RescaleSlope": _Entry(0x00281053, "DS", False),
    "VOILUTFunction": _Entry(0x00281056, "CS", False),
    "ModalityLUTSequence": _Entry(0x00283000, "SQ", False),
    "LUTDescriptor": _Entry(0x00283002, "US"),
    "LUTData": _Entry(0x00283006, "US"),
    "VOILUTSequence": _Entry(0x00283010, "SQ", False),
    "PresentationLUTShape": _Entry(0x20500020, "CS", False),
}
"""Every element that is read, by its keyword (PS3.6 6)."""


class Elements:
    """Typed access to the elements of a data set or of an item, with notes on what is malformed.

    An element that is absent or empty is None or "". So is a malformed one, with a note.

    Args:
        dataset: elements by tag, not yet converted; of pydicom where one may be a sequence.
        notes: of the data set that an item is part of.
    """

    def __init__(
        self, dataset: Dataset | Mapping[int, Any], notes: dict[str, None] | None = None
    ) -> None:
        self._dataset = dataset
        self._elements = {int(tag): element for tag, element in dataset.items()}
        self._notes: dict[str, None] = {} if notes is None else notes

    def __contains__(self, keyword: str) -> bool:
        """Return whether the file has the element, malformed or not."""
        return ELEMENTS[keyword].tag in self._elements

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks so far, in the order they arose and without repetition."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Add a remark."""
        self._notes[text] = None

    def leave_out(self, keyword: str, reason: str) -> None:
        """Note that an element is not used."""
        self.note(f"{keyword} left out: {reason}")

    def numbers(
        self, keyword: str, count: int | None = None, valid: Callable[[float], bool] = _is_any
    ) -> tuple[float, ...] | None:
        """Read an element of several numbers.

        Args:
            keyword: of the element.
            count: how many it must have; None for any number.
            valid: says whether a number makes sense.
        """
        value = self._value(keyword)
        if value is None:
            return None
        numbers = _decode(value)
        if count is not None and len(numbers) != count:
            self.leave_out(keyword, f"expected {count} value{'s' * (count > 1)}")
            return None
        return self._check(keyword, value, numbers, valid)

    def number(self, keyword: str, valid: Callable[[float], bool] = _is_any) -> float | None:
        """Read a number; of several the first, with a note where the standard has only one."""
        value = self._value(keyword)
        if value is None:
            return None
        numbers = _decode(value)
        checked = self._check(keyword, value, numbers[:1], valid)
        if checked is None:
            return None
        if len(numbers) > 1 and not ELEMENTS[keyword].is_multiple:
            self.note(f"{keyword} has several values: the first was used")
        return checked[0]

    def integer(self, keyword: str, valid: Callable[[float], bool] = _is_any) -> int | None:
        """Read a whole number, as `number`."""
        number = self.number(keyword, lambda value: value.is_integer() and valid(value))
        return None if number is None else int(number)

    def layout(self, keyword: str, valid: Callable[[float], bool] = _is_any) -> int | None:
        """Read a whole number of the layout of the samples.

        Raises:
            InputError: it has several values, so its length is wrong and hides what follows it.
        """
        value = self._value(keyword)
        if value is not None and len(_decode(value)) > 1:
            raise InputError(f"damaged DICOM: {keyword} has several values")
        return self.integer(keyword, valid)

    def code(self, keyword: str, known: Sequence[str] | None = None) -> str:
        """Read the first code of an element in upper case, without blanks around it.

        Args:
            keyword: of the element.
            known: codes that are accepted; None for any.
        """
        code = next(iter(self.codes(keyword)), "")
        if known is not None and code and code not in known:
            self.leave_out(keyword, "not a value of the standard")
            return ""
        return code

    def codes(self, keyword: str) -> list[str]:
        """Read all codes of an element, as `code`."""
        value = self._value(keyword)
        if value is None:
            return []
        parts = value.data.decode("ascii", "replace").split("\\")
        return [part.strip(" \0").upper() for part in parts]

    def words(self, keyword: str) -> npt.NDArray[np.uint16] | None:
        """Read the value as words of 16 bits, whatever its VR; an odd last byte is completed."""
        value = self._value(keyword)
        if value is None:
            return None
        data = value.data + bytes(len(value.data) % 2)
        return np.frombuffer(data, "<u2" if value.little else ">u2").astype(np.uint16)

    def item(self, keyword: str) -> Elements | None:
        """Return the first item of a sequence."""
        if keyword not in self:
            return None
        try:
            return Elements(self._dataset[ELEMENTS[keyword].tag].value[0], self._notes)
        except Exception:  # an item is parsed only now
            self.leave_out(keyword, "without an item that can be read")
            return None

    def vr(self, keyword: str) -> str:
        """Return the VR stated in the file, or that of the dictionary where it states none."""
        value = self._value(keyword)
        return "" if value is None else value.vr

    def has_bit_from(self, tags: Sequence[int], lowest: int) -> bool:
        """Return whether one of the elements, each a position of a bit, is `lowest` or above.

        Raises:
            InputError: one of them is no number.
        """
        for element in filter(None, map(self._elements.get, tags)):
            if not element.value:
                continue
            vr = element.VR if element.VR in _BINARY or element.VR in _TEXT else "US"
            numbers = _decode(_Value(vr, element.value, element.is_little_endian))
            if len(numbers) != 1 or numbers[0] is None:
                raise InputError("damaged DICOM: it cannot be decoded")
            if int(numbers[0]) >= lowest:
                return True
        return False

    def _value(self, keyword: str) -> _Value | None:
        element = self._elements.get(ELEMENTS[keyword].tag)
        if element is None or not element.value:
            return None
        if not isinstance(element, tuple):  # a sequence, which pydicom has converted
            return _Value(element.VR, b"", True)
        vr = element.VR or ""
        if vr not in _BINARY and vr not in _TEXT and vr != "SQ":
            vr = ELEMENTS[keyword].vr
        if vr in _TEXT and not element.value.strip(b" \0"):
            return None
        return _Value(vr, element.value, element.is_little_endian)

    def _check(
        self,
        keyword: str,
        value: _Value,
        numbers: Sequence[float | None],
        valid: Callable[[float], bool],
    ) -> tuple[float, ...] | None:
        """Return the numbers, or None with a note on the first that cannot be used."""
        checked = []
        for number in numbers:
            if number is None or not math.isfinite(number):
                self.leave_out(keyword, "not a number")
                return None
            if abs(number) > _LARGEST or not valid(number):
                self.leave_out(keyword, "not a possible value")
                return None
            checked.append(number)
        if value.vr in _TEXT and b"," in value.data:
            self.note(f"{keyword} is written with a comma, which was read as a decimal point")
        return tuple(checked)


def _decode(value: _Value) -> list[float | None]:
    """Return the numbers of a value, at least one, with None for what is not a number."""
    if value.vr in _BINARY:
        size = struct.calcsize(_BINARY[value.vr])
        count, rest = divmod(len(value.data), size)
        layout = f"{'<' if value.little else '>'}{count}{_BINARY[value.vr]}"
        return [None] if rest else [float(number) for number in struct.unpack(layout, value.data)]
    if value.vr not in _TEXT:
        return [None]
    texts = [text.strip(" \0") for text in value.data.decode("ascii", "replace").split("\\")]
    return [float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None for text in texts]
