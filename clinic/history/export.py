"""The physicians' opinions as a table, for a clinic's own statistics."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timezone
from pathlib import Path

from orthoedge.clinic.history.history import History

__all__ = ["is_export", "opinions_csv"]

_COLUMNS = (
    *("finding", "entered", "study_date", "body_part", "laterality", "label", "probability"),
    *("decision", "alert", "opinion_time", "user", "agrees", "physician_label", "note"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_export(file: Path) -> bool:
    """Whether a file is a former table, or is not there, so that a table may be written to it.

    Raises:
        OSError: it cannot be read.
    """
    head = ",".join(_COLUMNS).encode()
    try:
        with file.open("rb") as content:
            return content.read(len(head)) in (head, b"")
    except FileNotFoundError:
        return True


def opinions_csv(history: History) -> str:
    """Every opinion with its finding, one a line, without the patient's name and number.

    Raises:
        OSError, DataError: the database cannot be read.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")  # RFC 4180
    writer.writerow(_COLUMNS)
    for summary, opinion in history.all_opinions():
        writer.writerow(
            (
                summary.number,
                _moment(summary.time),
                summary.study_date,
                _cell(summary.body_part),
                summary.laterality,
                _cell(summary.label),
                f"{summary.probability:.4f}",
                summary.decision,
                int(summary.alert),
                _moment(opinion.time),
                _cell(opinion.user),
                int(opinion.agrees),
                _cell(opinion.label),
                _cell(opinion.note),
            )
        )
    return table.getvalue()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula, whoever wrote it."""
    return f"'{text}" if text.startswith(_FORMULA) else text
