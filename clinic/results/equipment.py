"""What every result has in common: equipment, provenance, dates, and the marks of research use."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.destination import RESULT_KINDS, ResultKind
from orthoedge.clinic.results.codes import ACQUISITION_EQUIPMENT, PROCESSING_ALGORITHM
from orthoedge.clinic.results.source import clean_text, derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer
    from orthoedge.runtime.finding import Provenance

MANUFACTURER = "orthoedge"
"""Manufacturer (0008,0070) of every object made here, and of no other."""

_FIRST_SERIES = 9001  # far above those that units number
_LONG = 64  # characters of LO
_DESCRIPTIONS = {
    "picture": "orthoedge picture, RESEARCH ONLY, not for diagnosis",
    "report": "orthoedge finding, RESEARCH ONLY, not for diagnosis",
    "contour": "orthoedge contour, RESEARCH ONLY, not for diagnosis",
    "segmentation": "orthoedge map, RESEARCH ONLY, not for diagnosis",
    "pdf": "orthoedge page, RESEARCH ONLY, not for diagnosis",
}


def identifiers(
    kind: ResultKind, header: Dataset, answer: Answer, content: str = ""
) -> dict[str, Any]:
    """Return the arguments that every constructor of highdicom takes.

    UIDs are made from the image, the kind, and all that changes what the object says: a repeat
    makes the same object, and another bundle, engine, precision or program another one.

    Args:
        kind: which object.
        header: from `usable_header`.
        answer: of which the whole provenance counts.
        content: what else changes what the object says, such as its language.
    """
    provenance = answer.finding.provenance
    made_from = [str(header.SOPInstanceUID), kind, _program(), content]
    made_from += map(str, dataclasses.astuple(provenance))
    return {
        "series_instance_uid": derived_uid(*made_from, "series"),
        "series_number": _FIRST_SERIES + RESULT_KINDS.index(kind),
        "sop_instance_uid": derived_uid(*made_from),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": model_name(provenance),
        "software_versions": software_versions(provenance),
        "device_serial_number": provenance.bundle_sha256,  # 64 digits, the longest that fits
        "series_description": _DESCRIPTIONS[kind],
        "content_qualification": "RESEARCH",
    }


def model_name(provenance: Provenance) -> str:
    """Return the bundle's name, as the model of the equipment."""
    return clean_text(provenance.bundle, _LONG) or "unnamed"


def model_version(provenance: Provenance) -> str:
    """Return the bundle's version."""
    return clean_text(provenance.bundle_version, _LONG) or "unknown"


def software_versions(provenance: Provenance) -> tuple[str, ...]:
    """Return the versions of the program, the bundle and the engine, with its precision."""
    engine = f"{provenance.engine} {provenance.engine_version} {provenance.precision}"
    return (
        _program(),
        clean_text(f"bundle {model_version(provenance)}", _LONG),
        clean_text(engine, _LONG),
    )


def _program() -> str:
    return f"orthoedge {importlib.metadata.version('orthoedge')}"


def device_uid(provenance: Provenance) -> str:
    """Return the UID of the algorithm: another one for each bundle (IHE AIR 6.5.3.1)."""
    return derived_uid(provenance.bundle_sha256, "device")


def finish(result: Dataset, header: Dataset, answer: Answer) -> None:
    """Set what highdicom leaves out, or fills with the time of now."""
    result.SpecificCharacterSet = "ISO_IR 192"
    moment, offset = content_moment(header, answer)
    day, time = moment.strftime("%Y%m%d").zfill(8), moment.strftime("%H%M%S.%f")
    for keyword in ("InstanceCreation", "Content", "PresentationCreation", "OfSecondaryCapture"):
        for part, value in (("Date", day), ("Time", time)):
            name = part + keyword if keyword.startswith("Of") else keyword + part
            if name in result:
                setattr(result, name, value)
    result.SeriesDate, result.SeriesTime = day, time
    if offset:
        result.TimezoneOffsetFromUTC = offset
    if "BodyPartExamined" in header and result.Modality not in ("SR", "DOC"):
        result.BodyPartExamined = header.BodyPartExamined
    if "Laterality" in header and result.Modality in ("OT", "PR"):
        result.Laterality = header.Laterality
    result.ContributingEquipmentSequence = [
        *_acquisition_equipment(header),
        _algorithm_equipment(answer.finding.provenance),
    ]


def content_moment(header: Dataset, answer: Answer) -> tuple[datetime, str]:
    """Return the content date and time of a result, and their offset from UTC or an empty text."""
    offset = str(header.get("TimezoneOffsetFromUTC", ""))
    if answer.received is not None:
        if offset:
            sign = -1 if offset[0] == "-" else 1
            zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:])))
            return answer.received.astimezone(zone), offset
        return answer.received.astimezone(), ""
    for stem in ("Content", "Acquisition", "Series", "Study"):
        if day := header.get(f"{stem}Date"):
            time = str(header.get(f"{stem}Time") or "000000").partition(".")[0].ljust(6, "0")
            return datetime.strptime(f"{day}{time}", "%Y%m%d%H%M%S"), offset
    return datetime.now().astimezone(), ""


def _acquisition_equipment(header: Dataset) -> list[Dataset]:
    """Return the unit that made the image; an empty list where the image does not name it."""
    from pydicom.dataset import Dataset

    if "Manufacturer" not in header:
        return []
    item = Dataset()
    for keyword in (
        "Manufacturer",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
        "InstitutionName",
        "StationName",
    ):
        if keyword in header:
            setattr(item, keyword, header[keyword].value)
    item.PurposeOfReferenceCodeSequence = [ACQUISITION_EQUIPMENT.concept()]
    return [item]


def _algorithm_equipment(provenance: Provenance) -> Dataset:
    """Return the algorithm as IHE AIR 6.5.3.1 asks; highdicom refuses that purpose."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = model_name(provenance)
    item.DeviceSerialNumber = provenance.bundle_sha256
    item.SoftwareVersions = list(software_versions(provenance))
    item.DeviceUID = device_uid(provenance)
    item.PurposeOfReferenceCodeSequence = [PROCESSING_ALGORITHM.concept()]
    return item
