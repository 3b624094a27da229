"""The history: every finding with its provenance, opinions on it, and who looked at it."""

from orthoedge.clinic.history.history import History
from orthoedge.clinic.history.records import (
    AuditEntry,
    FindingSummary,
    NewFinding,
    Opinion,
    PatientFacts,
    Picture,
    SearchQuery,
    StoredFinding,
    StoredOpinion,
    StudyFacts,
)

__all__ = [
    "AuditEntry",
    "FindingSummary",
    "History",
    "NewFinding",
    "Opinion",
    "PatientFacts",
    "Picture",
    "SearchQuery",
    "StoredFinding",
    "StoredOpinion",
    "StudyFacts",
]
