"""What a DICOM header says of patient, study and view, as the report shows it.

The header comes from anywhere: a value may be missing, malformed, far too long, or hold control
characters or markup. Each is read on its own and becomes short plain text.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["PatientFacts", "StudyFacts", "facts_of", "plain_text", "read_facts"]

_ELEMENTS = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyDescription", "SeriesDescription"),
    *("BodyPartExamined", "Laterality", "ImageLaterality", "ViewPosition", "InstitutionName"),
)
_LONGEST = 200  # characters; DICOM's own limit is 64 for most, and 64 a part for names
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d)")


class PatientFacts(msgspec.Struct, frozen=True):
    """What the header says of the patient; empty where it says nothing."""

    id: str = ""
    name: str = ""
    """As it is shown: `Family, Given`."""
    birth_date: str = ""
    """`YYYY-MM-DD`."""
    sex: str = ""
    """`F`, `M` or `O`."""


class StudyFacts(msgspec.Struct, frozen=True):
    """What the header says of the study and the view; empty where it says nothing."""

    date: str = ""
    """`YYYY-MM-DD`."""
    time: str = ""
    """`HH:MM`."""
    accession: str = ""
    description: str = ""
    body_part: str = ""
    laterality: str = ""
    """`R`, `L` or `B`."""
    view: str = ""
    institution: str = ""


def read_facts(file: Path) -> tuple[PatientFacts, StudyFacts]:
    """Read the header of a DICOM file; what cannot be read is empty."""
    from pydicom import dcmread

    from orthoedge.runtime.dicom.silence import quiet_pydicom

    try:
        with quiet_pydicom():
            dataset = dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=list(_ELEMENTS)
            )
            return facts_of(dataset)
    except Exception:  # pydicom raises anything for a damaged file, and the pixels may be sound
        return PatientFacts(), StudyFacts()


def facts_of(dataset: Dataset) -> tuple[PatientFacts, StudyFacts]:
    """The facts of a header that was read already."""
    sides = (_text(dataset, keyword).upper() for keyword in ("ImageLaterality", "Laterality"))
    sex = _text(dataset, "PatientSex").upper()
    descriptions = (
        _text(dataset, keyword) for keyword in ("StudyDescription", "SeriesDescription")
    )
    moment = _TIME.match(_text(dataset, "StudyTime"))
    return PatientFacts(
        id=_text(dataset, "PatientID"),
        name=_name(dataset),
        birth_date=_date(dataset, "PatientBirthDate"),
        sex=sex if sex in ("F", "M", "O") else "",
    ), StudyFacts(
        date=_date(dataset, "StudyDate"),
        time=":".join(moment.groups()) if moment else "",
        accession=_text(dataset, "AccessionNumber"),
        description=next(filter(None, descriptions), ""),
        body_part=_text(dataset, "BodyPartExamined"),
        laterality=next((side for side in sides if side in ("R", "L", "B")), ""),
        view=_text(dataset, "ViewPosition"),
        institution=_text(dataset, "InstitutionName"),
    )


def plain_text(value: str) -> str:
    """Text in one line without control characters, and not too long for a list.

    Marks that turn the direction of writing are left out too: they could make one name look like
    another.
    """
    kept = (" " if unicodedata.category(c)[0] == "Z" else c for c in value if not _is_control(c))
    return " ".join("".join(kept).split())[:_LONGEST]


def _is_control(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs", "Co", "Cn") and character not in "\t\n\u200c\u200d"


def _text(dataset: Dataset, keyword: str) -> str:
    with contextlib.suppress(Exception):
        value = dataset.get(keyword)
        if isinstance(value, str | int | float):
            return plain_text(str(value))
        if value is not None:  # several values
            return plain_text(", ".join(map(str, value)))
    return ""


def _name(dataset: Dataset) -> str:
    """The name as it is shown; its ideographic form stands in brackets."""
    with contextlib.suppress(Exception):
        value = dataset.get("PatientName")
        groups = [plain_text(", ".join(filter(None, _parts(one)))) for one in str(value).split("=")]
        shown = [group for group in groups[:2] if group]
        if value is not None and shown:
            return shown[0] if len(shown) == 1 else f"{shown[0]} ({shown[1]})"
    return ""


def _parts(group: str) -> tuple[str, ...]:
    """Family name, and the given names in one."""
    family, *given = (part.strip() for part in group.split("^"))
    return family, " ".join(filter(None, given[:2]))


def _date(dataset: Dataset, keyword: str) -> str:
    with contextlib.suppress(Exception):
        value = _text(dataset, keyword)
        return datetime.datetime.strptime(value[:8], "%Y%m%d").date().isoformat()
    return ""
