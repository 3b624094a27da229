"""The header of an image, made fit for the objects that refer to it.

Every value that a result takes from its image goes through `usable_header`. What is missing or
malformed becomes empty, or is left out, or is cut to the longest that its VR allows (PS3.5 6.2); a
value that can be read in one way only is rewritten. Texts are decoded by the character set of the
image, so that results can be written in UTF-8.
"""

from __future__ import annotations

import math
import re
import unicodedata
import uuid
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SHORT, _LONG, _NAME = 16, 64, 64  # characters of SH, of LO, and of each group of PN
_UID = re.compile(r"[0-9.]{1,64}")
_DATE = re.compile(r"(\d{4})([-./]?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
_DIRECTION = re.compile(r"[APLRHF]{1,3}")
_INVISIBLE = ("Cc", "Cs")  # control characters; halves of pairs, which UTF-8 cannot hold

_TEXTS = {
    "PatientID": _LONG,
    "AccessionNumber": _SHORT,
    "StudyID": _SHORT,
}
_OPTIONAL_TEXTS = {
    "IssuerOfPatientID": _LONG,
    "StudyDescription": _LONG,
    "Manufacturer": _LONG,
    "ManufacturerModelName": _LONG,
    "DeviceSerialNumber": _LONG,
    "SoftwareVersions": _LONG,
    "InstitutionName": _LONG,
    "StationName": _SHORT,
}
_NAMES = ("PatientName", "ReferringPhysicianName")
_DATES = ("PatientBirthDate", "StudyDate")
_OPTIONAL_DATES = ("SeriesDate", "AcquisitionDate", "ContentDate")
_OPTIONAL_TIMES = ("SeriesTime", "AcquisitionTime", "ContentTime")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
RADIOGRAPHS = tuple(  # CR, DX, mammography, intra-oral, secondary capture: of a single frame
    _STORAGE + kind for kind in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "7")
)
_SEXES = ("M", "F", "O")
# Body parts of PS3.16 annex L of which people have one: their images have no side (PS3.3 C.7.3.1).
_UNPAIRED = {
    "ABDOMEN", "ABDOMENPELVIS", "AORTA", "BACK", "BLADDER", "BRAIN", "CEREBELLUM", "CERVIX",
    "CHEST", "CHESTABDOMEN", "COCCYX", "COLON", "CSPINE", "CTSPINE", "DUODENUM", "ESOPHAGUS",
    "FACE", "HEAD", "HEADNECK", "HEART", "ILEUM", "ILIUM", "JAW", "LARYNX", "LIVER", "LSPINE",
    "LSSPINE", "MAXILLA", "MEDIASTINUM", "MOUTH", "NECK", "NOSE", "PANCREAS", "PELVIS", "PENIS",
    "PHARYNX", "SCALP", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS",
    "THYROID", "TLSPINE", "TSPINE", "UTERUS", "VAGINA", "VULVA", "WHOLEBODY",
}  # fmt: skip
_LARGEST = 1e9  # of a number that a grey scale or a spacing can hold


def usable_header(source: Dataset) -> Dataset:
    """Take from an image what results need, each value valid for its VR.

    Args:
        source: the image; its header is enough. It is not changed.

    Returns:
        A data set in `ISO_IR 192` with the attributes of patient and study, each of type 2 at least
        empty, of the image's identity, size, grey scale and equipment, and nothing else.

    Raises:
        InputError: no SOP class of a radiograph, no SOP instance UID, or no size.
    """
    from pydicom.dataset import Dataset

    with quiet_pydicom():
        header = Dataset()
        header.SpecificCharacterSet = "ISO_IR 192"
        _take_identity(source, header)
        _take_patient_and_study(source, header)
        _take_image(source, header)
        _take_grey_scale(source, header)
        for keyword, longest in _OPTIONAL_TEXTS.items():
            if value := _text(source, keyword, longest):
                setattr(header, keyword, value)
    return header


def _take_identity(source: Dataset, header: Dataset) -> None:
    meta = getattr(source, "file_meta", None)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        uid = _uid(source, keyword)
        if not uid and meta is not None:
            uid = _uid(meta, f"MediaStorage{keyword}")
        if not uid:
            raise InputError(f"DICOM without a {keyword}: results cannot refer to it")
        setattr(header, keyword, uid)
    if header.SOPClassUID not in RADIOGRAPHS:
        raise InputError("DICOM of a SOP class that is no radiograph: no result can refer to it")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        # An image without these belongs to no study; the same one for all of its results.
        uid = _uid(source, keyword) or derived_uid(header.SOPInstanceUID, keyword)
        setattr(header, keyword, uid)


def _take_patient_and_study(source: Dataset, header: Dataset) -> None:
    for keyword, longest in _TEXTS.items():
        setattr(header, keyword, _text(source, keyword, longest))
    for keyword in _NAMES:
        setattr(header, keyword, _name(source, keyword))
    for keyword in _DATES:
        setattr(header, keyword, _date(source, keyword))
    header.StudyTime = _time(source, "StudyTime")
    sex = _first(source, "PatientSex").upper()
    header.PatientSex = sex if sex in _SEXES else ""
    for keyword in _OPTIONAL_DATES:
        if value := _date(source, keyword):
            setattr(header, keyword, value)
    for keyword in _OPTIONAL_TIMES:
        if value := _time(source, keyword):
            setattr(header, keyword, value)
    offset = _first(source, "TimezoneOffsetFromUTC")
    if _OFFSET.fullmatch(offset) and offset != "-0000":
        header.TimezoneOffsetFromUTC = offset


def _take_image(source: Dataset, header: Dataset) -> None:
    for keyword in ("Rows", "Columns"):
        number = _numbers(source, keyword, lambda value: 1 <= value < 2**16)
        if not number or number[0] != int(number[0]):
            raise InputError(f"DICOM without a valid {keyword}: results cannot refer to it")
        setattr(header, keyword, int(number[0]))
    header.SamplesPerPixel = 1  # no other image has a finding
    for keyword in ("Modality", "BodyPartExamined"):
        if value := _code(source, keyword):
            setattr(header, keyword, value)
    sides = {_first(source, keyword).upper() for keyword in ("Laterality", "ImageLaterality")}
    sides &= {"L", "R"}
    if header.get("BodyPartExamined") not in _UNPAIRED:
        header.Laterality = sides.pop() if len(sides) == 1 else ""  # two contradict each other
    directions = _strings(source, "PatientOrientation")
    if len(directions) == 2 and all(map(_DIRECTION.fullmatch, directions)):
        header.PatientOrientation = directions
    spacing = _numbers(source, "ImagerPixelSpacing", lambda value: value > 0)
    if spacing and len(spacing) == 2:
        header.ImagerPixelSpacing = list(map(decimal_string, spacing))
    if _code(source, "LossyImageCompression") == "01":  # as all that is derived (C.7.6.1.1.5)
        header.LossyImageCompression = "01"
        ratios = _numbers(source, "LossyImageCompressionRatio", lambda value: value > 0)
        methods = _strings(source, "LossyImageCompressionMethod")
        if ratios and len(ratios) == len(methods) and all(map(_CODE.fullmatch, methods)):
            header.LossyImageCompressionRatio = list(map(decimal_string, ratios))
            header.LossyImageCompressionMethod = methods


def _take_grey_scale(source: Dataset, header: Dataset) -> None:
    """Take how stored values become grey, where it is complete and valid."""
    photometric = _code(source, "PhotometricInterpretation")
    shape = _code(source, "PresentationLUTShape")
    is_inverse = photometric == "MONOCHROME1" if shape not in ("IDENTITY", "INVERSE") else None
    # The reader of radiographs resolves a contradiction of the two in this way too.
    header.PresentationLUTShape = shape if is_inverse is None else _shape(is_inverse)
    rescale = [
        _numbers(source, keyword, lambda value: True)
        for keyword in ("RescaleIntercept", "RescaleSlope")
    ]
    if all(numbers and len(numbers) == 1 for numbers in rescale) and rescale[1] != [0.0]:
        header.RescaleIntercept, header.RescaleSlope = (
            decimal_string(numbers[0]) for numbers in rescale if numbers
        )
    centers = _numbers(source, "WindowCenter", lambda value: True) or []
    widths = _numbers(source, "WindowWidth", lambda value: value >= 1) or []
    if centers and widths:  # the first is the one that viewers open with
        header.WindowCenter, header.WindowWidth = map(decimal_string, (centers[0], widths[0]))
        function = _code(source, "VOILUTFunction")
        if function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            header.VOILUTFunction = function


def _shape(is_inverse: bool) -> str:
    return "INVERSE" if is_inverse else "IDENTITY"


def derived_uid(*parts: str) -> str:
    """Make a UID that is the same for the same parts (PS3.5 B.2, UUID version 5 of RFC 9562)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(10).join(parts)).int}"


def decimal_string(number: float) -> str:
    """Write a number in at most 16 characters (PS3.5 6.2, VR DS)."""
    for digits in range(15, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{number!r} does not fit 16 characters")


def clean_text(text: str, longest: int) -> str:
    """Return a text without what SH and LO forbid, cut to `longest` characters."""
    kept = "".join(
        " " if letter == "\\" or unicodedata.category(letter) in _INVISIBLE else letter
        for letter in text
    )
    return " ".join(kept.split())[:longest].strip()


def _strings(source: Dataset, keyword: str) -> list[str]:
    """Return the values of an element as texts; an empty list where it cannot be read."""
    from pydicom.multival import MultiValue

    try:
        value = source[keyword].value
        values = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
        return [_string(item) for item in values]
    except Exception:  # absent; and a parser or decoder raises anything for a malformed value
        return []


def _string(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):  # of an unknown VR
        return value.decode("utf-8", "replace").strip(" \0")
    return str(value).strip(" \0")


def _first(source: Dataset, keyword: str) -> str:
    return next(iter(_strings(source, keyword)), "")


def _text(source: Dataset, keyword: str, longest: int) -> str:
    # A backslash separates values, of which these elements have one: it was meant as a character.
    return clean_text(" ".join(_strings(source, keyword)), longest)


def _code(source: Dataset, keyword: str) -> str:
    code = _first(source, keyword).upper()
    return code if _CODE.fullmatch(code) else ""


def _uid(source: Dataset, keyword: str) -> str:
    """Return a UID as it is written, even with leading zeros: a reference has to be the same."""
    uid = _first(source, keyword)
    return uid if _UID.fullmatch(uid) else ""


def _name(source: Dataset, keyword: str) -> str:
    """Return a person's name: up to three groups of up to five components (PS3.5 6.2.1)."""
    groups = []
    for group in _first(source, keyword).split("=")[:3]:
        parts = [clean_text(part, _NAME) for part in group.split("^")]
        components = [*parts[:4], " ".join(parts[4:]).strip()]
        groups.append("^".join(components).rstrip("^")[:_NAME].rstrip(" ^"))
    return "=".join(groups).rstrip("=")


def _date(source: Dataset, keyword: str) -> str:
    """Return a date as YYYYMMDD, also of the forms 2026-11-29 and 2026.11.29; else empty."""
    match = _DATE.fullmatch(_first(source, keyword))
    if match is None:
        return ""
    try:
        return date(*(int(match[group]) for group in (1, 3, 4))).strftime("%Y%m%d").zfill(8)
    except ValueError:
        return ""


def _time(source: Dataset, keyword: str) -> str:
    """Return a time as HHMMSS.FFFFFF or its beginning, also of the form 12:34:56; else empty."""
    match = _TIME.fullmatch(_first(source, keyword))
    if match is None:
        return ""
    hour, minute, second, fraction = (part or "" for part in match.groups())
    return hour + minute + ("59" if second == "60" else second) + fraction


def _numbers(
    source: Dataset, keyword: str, is_valid: Callable[[float], bool]
) -> list[float] | None:
    """Return the numbers of an element; None where one of them is none or not valid."""
    numbers = []
    for text in _strings(source, keyword):
        try:
            number = float(text)
        except ValueError:
            return None
        if not math.isfinite(number) or abs(number) > _LARGEST or not is_valid(number):
            return None
        numbers.append(number)
    return numbers or None
