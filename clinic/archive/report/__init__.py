"""One page about the rows of a store."""

from orthoedge.clinic.archive.report.page import write_report

__all__ = ["write_report"]
