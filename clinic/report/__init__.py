"""The report on one radiograph: one page, as PDF, in ten languages."""

from orthoedge.clinic.report.content import EarlierFinding, ReportContent
from orthoedge.clinic.report.header import PatientFacts, StudyFacts, read_facts
from orthoedge.clinic.report.make import PAPERS, Paper, make_report

__all__ = [
    "PAPERS",
    "EarlierFinding",
    "Paper",
    "PatientFacts",
    "ReportContent",
    "StudyFacts",
    "make_report",
    "read_facts",
]
