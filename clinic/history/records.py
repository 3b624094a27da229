"""What the history keeps and returns."""

from __future__ import annotations

from typing import Literal

import msgspec

from orthoedge.clinic.words.failures import FailureId

__all__ = [
    "AuditEntry",
    "EntryCounts",
    "FindingSummary",
    "NewFinding",
    "Opinion",
    "Origin",
    "PatientFacts",
    "Picture",
    "SearchQuery",
    "SpacingPlane",
    "StoredFinding",
    "StoredOpinion",
    "StudyFacts",
]

Origin = Literal["page", "api", "node", "watch"]
"""How a radiograph came: by the page, by another program, by DICOM, or by a watched folder."""


SpacingPlane = Literal["detector", "patient", ""]
"""Where a spacing was measured, as of `Radiograph`; empty if the file does not say."""


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


class Picture(msgspec.Struct, frozen=True):
    """The pixels of a radiograph in the history's folder, and how to show them."""

    width: int
    height: int
    bits: int
    """Bits per sample of the file; 8 where only the 8-bit picture was kept."""
    window_center: float
    """In units of the pixels; with `window_width` the contrast in which the network saw them."""
    window_width: float
    sha256: str = ""
    """Of the pixels, uint16 little-endian, row by row; names the file."""


class NewFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is to be kept, or a file that could not be read."""

    origin: Origin
    file_name: str
    image_sha256: str
    """Of the file."""
    finding: bytes = b""
    """JSON of the finding, as `Finding.to_json`; empty for a failure."""
    failure: str = ""
    """Why there is no finding; empty if there is one."""
    alert_labels: tuple[str, ...] = ()
    """Of the bundle."""
    patient: PatientFacts = PatientFacts()
    study: StudyFacts = StudyFacts()
    spacing_mm: tuple[float, float] | None = None
    """Millimetres between rows and between columns."""
    spacing_plane: SpacingPlane = ""
    picture: Picture | None = None
    key: str = ""
    """Names the event that led to it, so that a retry does not enter it twice; empty for none."""


class FindingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list."""

    number: int
    time: float
    """Seconds since 1970, UTC, when it was entered."""
    origin: Origin
    file_name: str
    patient_id: str
    patient_name: str
    study_date: str
    body_part: str
    laterality: str
    label: str
    """The most probable label; empty for a failure and for `reject`, which is no answer."""
    decision: str
    """`report`, `refer` or `reject`; empty for a failure."""
    probability: float
    """Of the label; 0 where it is empty."""
    alert: bool
    """Whether an alert label cannot be ruled out."""
    opinion: Literal["agree", "disagree", ""]
    """Of the last opinion."""
    failure: str
    """Why there is no finding, a technical line in English; empty if there is one."""
    diameter_mm: float | None
    """Longest diameter of the largest region that was outlined; None where none was measured."""
    failure_id: FailureId | Literal[""] = ""
    """Of the sentence in the catalogue that says the same as `failure`; empty for a finding."""
    region: str = ""
    """End of the message id `region.…` of the body part; empty where it is not known."""


class EntryCounts(msgspec.Struct, frozen=True):
    """How many findings were entered since a time."""

    findings: int
    """Without files that could not be read."""
    urgent: int
    """Those that a physician must read: `refer`, and an alert label that is not ruled out."""


class StoredOpinion(msgspec.Struct, frozen=True, kw_only=True):
    """A physician's opinion on a finding."""

    time: float
    user: str
    agrees: bool
    label: str
    """What it was; empty if not stated."""
    note: str


class StoredFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with everything that the history knows of it."""

    summary: FindingSummary
    image_sha256: str
    finding: bytes
    patient: PatientFacts
    study: StudyFacts
    spacing_mm: tuple[float, float] | None
    spacing_plane: SpacingPlane
    picture: Picture | None
    opinions: tuple[StoredOpinion, ...]
    """The first one first; the last one counts."""


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An opinion that is to be entered."""

    agrees: bool
    label: str = ""
    note: str = ""


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the findings of a list have in common; an empty field matches all."""

    text: str = ""
    """Words, each a part of the name, the id, the accession number, the file's name, the
    description, the body part or the date."""
    first_day: str = ""
    """`YYYY-MM-DD`; of the study, or of the entry where the header has no date."""
    last_day: str = ""
    region: str = ""
    """End of the message id `region.…` of the body part; `spine` is all of the spine."""
    decision: str = ""
    """`report`, `refer`, `reject`, `failure`; or `alert` for those with an alert label."""
    before: int = 0
    """Only findings with lower numbers: the next page of a list; 0 for the first."""
    after: int = 0
    """Only findings with higher numbers."""
    limit: int = 50


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, and when."""

    number: int
    time: float
    user: str
    """Empty for the program itself, or where there are no accounts."""
    action: str
    """Such as `looked`, `opinion`, `exported`, `deleted`."""
    finding: int
    """Number of the finding; 0 if it is about none or several."""
    detail: str
