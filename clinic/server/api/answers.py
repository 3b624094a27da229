"""What the API answers and takes, as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from orthoedge.clinic.history.records import (
    AuditEntry,
    FindingSummary,
    PatientFacts,
    SpacingPlane,
    StoredOpinion,
    StudyFacts,
)
from orthoedge.clinic.words.facts import Extent
from orthoedge.clinic.words.failures import FailureId

__all__ = [
    "AuditPage",
    "AuditQuery",
    "BackupDone",
    "BundleShown",
    "CountQuery",
    "CourseEntry",
    "CourseShown",
    "Done",
    "ErrorShown",
    "FindingAdded",
    "FindingList",
    "FindingPage",
    "FindingQuery",
    "LanguageShown",
    "ListQuery",
    "Login",
    "PixelQuery",
    "ReportQuery",
    "SessionShown",
    "UploadQuery",
    "WindowShown",
]


class ErrorShown(msgspec.Struct, frozen=True):
    """Why a request failed."""

    error: str
    """One sentence, in English."""
    id: str
    """Of the sentence in the catalogue of texts."""
    number: int = 0
    """Of the finding that was entered for a file that cannot be read; 0 if none was."""
    failure_id: FailureId | Literal[""] = ""
    """Of the sentence that says why it cannot be read; empty for any other error."""


class LanguageShown(msgspec.Struct, frozen=True):
    """A language of the page."""

    code: str
    name: str
    """In the language itself."""
    direction: str
    """`ltr` or `rtl`, as in HTML."""
    is_reviewed: bool
    """Whether a clinician who speaks it has read the texts."""


class BundleShown(msgspec.Struct, frozen=True):
    """The bundle that answers."""

    name: str
    version: str
    sha256: str
    alert_labels: tuple[str, ...]


class SessionShown(msgspec.Struct, frozen=True):
    """Who is logged in, and what the page needs before it shows anything."""

    user: str
    role: Literal["operator", "physician", "administrator", ""]
    """Empty for a user who is not logged in."""
    needs_login: bool
    has_accounts: bool
    """Whether there is anything to log out of."""
    idle_s: float
    """Seconds without a request after which the session ends; 0 without accounts."""
    csrf: str
    """To be sent as `X-CSRF-Token` with each changing request."""
    languages: tuple[LanguageShown, ...]
    labels: tuple[str, ...]
    bundle: BundleShown
    notice: str
    """Intended use of the bundle."""
    can_report: bool
    """Whether what makes a report as PDF is installed."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name with its password."""

    user: str
    password: str


class Done(msgspec.Struct, frozen=True):
    """Nothing but that it was done."""

    done: bool = True


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, as `SearchQuery` of the history."""

    text: str = ""
    first_day: str = msgspec.field(default="", name="from")
    """`YYYY-MM-DD`."""
    last_day: str = msgspec.field(default="", name="to")
    region: str = ""
    """Of the body part, as `region` of a finding; `spine` is all of the spine."""
    decision: Literal["", "report", "refer", "reject", "failure", "alert"] = ""
    before: int = 0
    limit: int = 50


class FindingList(msgspec.Struct, frozen=True):
    """A page of the list, the last finding first."""

    findings: list[FindingSummary]
    more: bool
    """Whether there are earlier ones."""


class CountQuery(msgspec.Struct, frozen=True):
    """Since when findings are counted."""

    since: float = 0.0
    """Seconds since 1970, UTC."""


class UploadQuery(msgspec.Struct, frozen=True):
    """What a file is called."""

    name: str = ""


class FindingAdded(FindingSummary, frozen=True, kw_only=True):
    """A finding that was entered."""

    finding: msgspec.Raw
    """As `orthoedge predict --json` prints it."""


class FindingQuery(msgspec.Struct, frozen=True):
    """In which language a finding is put into words."""

    language: str = "en"


class PixelQuery(msgspec.Struct, frozen=True):
    """How fine the pixels are."""

    side: int = 0
    """Halved for as long as the longer side has at least so many pixels; 0 for all of them."""


class ReportQuery(msgspec.Struct, frozen=True):
    """How a report is made."""

    language: str = "en"
    paper: Literal["a4", "letter"] = "a4"
    patient: bool = True
    """Whether it names the patient."""


class WindowShown(msgspec.Struct, frozen=True):
    """The contrast in which the network saw the radiograph, in units of the pixels."""

    center: float
    width: float


class FindingPage(FindingSummary, frozen=True, kw_only=True):
    """Everything that is known of a finding."""

    finding: msgspec.Raw | None
    """As `orthoedge predict --json` prints it; null for a failure."""
    words: msgspec.Raw | None
    """The finding in words, by reader; null for a failure."""
    patient: PatientFacts
    study: StudyFacts
    spacing_mm: tuple[float, float] | None
    spacing_plane: SpacingPlane
    width: int
    """Of the pixels; 0 if there are none."""
    height: int
    bits: int
    window: WindowShown | None
    earlier: list[FindingSummary]
    """All findings of the same patient, this one too, the first one first."""
    extent: Extent | None
    """How far it reaches; null where there is nothing to measure, or the engine cannot run."""
    opinions: tuple[StoredOpinion, ...]


class CourseEntry(msgspec.Struct, frozen=True):
    """One radiograph of a course."""

    number: int
    time: float
    """Seconds since 1970, UTC, when it was entered."""
    study_date: str
    label: str
    decision: str
    alert: bool
    """Whether an alert label cannot be ruled out."""
    probability: float
    """Of the label."""
    probabilities: dict[str, float]
    extent: Extent | None
    """As of `FindingPage`."""


class CourseShown(msgspec.Struct, frozen=True):
    """A patient's answers on one body part and side, the last 24, the first one first."""

    entries: tuple[CourseEntry, ...]


class AuditQuery(msgspec.Struct, frozen=True):
    """Which entries of the audit trail."""

    before: int = 0
    limit: int = 100


class AuditPage(msgspec.Struct, frozen=True):
    """Entries of the audit trail, the last one first."""

    entries: list[AuditEntry]


class BackupDone(msgspec.Struct, frozen=True):
    """A backup that was made."""

    file: str
    """The folder that holds it."""
