"""What a report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from orthoedge.clinic.history.records import PatientFacts, StudyFacts
from orthoedge.clinic.words import ALERT_LABELS
from orthoedge.clinic.words.facts import Extent

if TYPE_CHECKING:
    from orthoedge.runtime.decision import Decision
    from orthoedge.runtime.preprocess import Pixels

__all__ = ["EarlierFinding", "ReportContent"]


@dataclass(frozen=True)
class EarlierFinding:
    """The finding on an earlier radiograph of the same patient, a line of the report."""

    date: str
    """`YYYY-MM-DD`; empty where it is not known."""
    label: str
    probability: float
    """Of the label."""
    decision: Decision
    extent: Extent | None = None
    """How far the finding reaches; None where there is nothing to measure."""
    body_part: str = ""
    """As the header has it, such as `WRIST`; empty where it does not say."""
    laterality: str = ""
    """`R`, `L`, `B`, or empty."""

    @classmethod
    def from_finding(cls, finding: bytes, study: StudyFacts) -> EarlierFinding:
        """Take the line from the JSON of a finding and what its header says of the study.

        Raises:
            InputError: not the JSON of a finding.
        """
        from orthoedge.clinic.words.extent import extent_of
        from orthoedge.clinic.words.finding_words import decode_finding

        record = decode_finding(finding)
        return cls(
            study.date,
            record.label,
            record.probabilities[record.label],
            record.decision,
            extent_of(record),
            study.body_part,
            study.laterality,
        )


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report is made from; the same content gives the same bytes."""

    finding: bytes
    """JSON of the finding, as `Finding.to_json`."""
    pixels: Pixels
    """The radiograph, uint8 (H, W), bone bright, as the finding was made from."""
    made: datetime
    """Date and time of the report, as it states them."""
    study: StudyFacts = field(default_factory=StudyFacts)
    """Body part, side and view are always shown; the rest of it with the patient alone."""
    patient: PatientFacts | None = None
    """None leaves a blank line for the name, and everything away that could identify a person."""
    file_name: str = ""
    """Shown with the patient alone."""
    image_sha256: str = ""
    """Of the file, in hex; shown at the foot, and a keyword of the PDF. Empty leaves it out."""
    earlier: tuple[EarlierFinding, ...] = ()
    """Oldest first. The last ten are listed, the others counted."""
    alert_labels: tuple[str, ...] = ALERT_LABELS
    """Labels for which a physician must look at the radiograph soon."""
