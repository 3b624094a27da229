"""Content items that several groups of the report have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orthoedge.clinic.results import codes
from orthoedge.clinic.results.equipment import MANUFACTURER, model_name, model_version
from orthoedge.clinic.results.source import clean_text, derived_uid

if TYPE_CHECKING:
    from orthoedge.runtime.finding import Finding

_LONGEST_TEXT = 1024


def algorithm(finding: Finding, parameters: list[str]) -> Any:
    """Return the identification of the algorithm (TID 4019)."""
    from highdicom import sr

    return sr.AlgorithmIdentification(
        name=model_name(finding.provenance),
        version=model_version(finding.provenance),
        parameters=[clean_text(text, _LONGEST_TEXT) for text in parameters],
        family=codes.ARTIFICIAL_INTELLIGENCE.concept(),
        manufacturer=MANUFACTURER,
    )


def tracking(report_uid: str, name: str) -> Any:
    """Return the identifier of a group, the same one whenever the report is made."""
    from highdicom import sr

    return sr.TrackingIdentifier(uid=derived_uid(report_uid, name), identifier=f"orthoedge {name}")


def evaluation(name: codes.Code, value: codes.Code) -> Any:
    """Return a coded question with its coded answer."""
    from highdicom import sr

    return sr.QualitativeEvaluation(name=name.concept(), value=value.concept())


def comment(text: str) -> Any:
    """Return a comment of a group."""
    from highdicom import sr

    return sr.TextContentItem(
        name=codes.COMMENT.concept(),
        value=clean_text(text, _LONGEST_TEXT) or "none",
        relationship_type="CONTAINS",
    )
