"""The page: counts, failures, throughput and accuracy of each bundle, and what changed."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from html import escape
from pathlib import Path

from orthoedge.clinic.archive.report.changes import changes
from orthoedge.clinic.archive.report.html import PAGE, bars, share_with_interval, table
from orthoedge.clinic.archive.report.tally import Tally
from orthoedge.clinic.archive.rows import RunRecord
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.settings import plain

__all__ = ["write_report"]

_DECISIONS = ("report", "refer", "reject")
_BARS = 60
_SECONDS_UP_TO = 3600  # of a chart whose times show seconds
_MOST_LINES = 20  # of a table that could be as long as the archive


def write_report(root: Path, page: Path, authorization: Path | None = None) -> None:
    """Write one self-contained HTML page about a store.

    Args:
        root: the store.
        page: the file.
        authorization: file that holds the `Authorization` header, for pictures from a DICOMweb
            service.

    Raises:
        DataError: there is no store, or a part of it is damaged.
        OSError: the page cannot be written.
    """
    with closing(Tally(root)) as tally:
        parts = [f"<h1>Archive {escape(root.absolute().name)}</h1>", _overview(tally)]
        if len(tally.bundles) > 1:
            before, after = tally.bundles[-2:]
            parts.append(changes(tally, before, after, authorization))
        for number, record in tally.bundles:
            parts.append(f"<h2>{escape(_name(record))}</h2>")
            parts.append(f'<p class="note">{escape(record.intended_use)}</p>')
            parts += [
                section(tally, number)
                for section in (_decisions, _accuracy, _sources, _failures, _throughput, _machines)
            ]
    text = PAGE.format(title=escape(f"Archive {root.absolute().name}"), body="\n".join(parts))
    write_atomic(page, text.encode("utf-8", "backslashreplace"))


def _name(record: RunRecord) -> str:
    return f"{record.bundle} {record.bundle_version}, {record.target} {record.precision}"


def _overview(tally: Tally) -> str:
    lines = []
    for number, record in tally.bundles:
        rows, failed, first, last = tally.one(
            "SELECT count(*), count(error), min(second), max(second) FROM rows WHERE bundle = ?",
            number,
        )
        times = (_time(first), _time(last)) if rows else ("–", "–")
        lines.append((_name(record), record.bundle_sha256[:16], rows, failed, *times))
    head = ("bundle", "SHA-256 begins", "radiographs", "without an answer", "first", "last")
    written = _time(datetime.now(timezone.utc).timestamp())
    return table(head, lines) + f'<p class="note">Written {written}. Times are UTC.</p>'


def _time(second: float, form: str = "%Y-%m-%d %H:%M") -> str:
    return datetime.fromtimestamp(second, timezone.utc).strftime(form)


def _decisions(tally: Tally, bundle: int) -> str:
    counts = {
        (label, decision): count
        for label, decision, count in tally.all(
            "SELECT label, decision, count(*) FROM rows WHERE bundle = ? AND error IS NULL "
            "GROUP BY label, decision",
            bundle,
        )
    }
    labels = sorted({label for label, decision in counts if decision != "reject"})
    lines: list[tuple[object, ...]] = [
        (label, *(counts.get((label, decision), 0) for decision in _DECISIONS[:2]), "")
        for label in labels
    ]
    rejected = sum(n for (_, decision), n in counts.items() if decision == "reject")
    lines.append(("(rejected: not a usable radiograph)", "", "", rejected))
    totals = (
        sum(n for (_, each), n in counts.items() if each == decision) for decision in _DECISIONS
    )
    return "<h3>Decisions</h3>" + table(
        ("most probable label", *_DECISIONS), [*lines, ("all", *totals)]
    )


def _accuracy(tally: Tally, bundle: int) -> str:
    known = "bundle = ? AND truth IS NOT NULL AND error IS NULL AND decision != 'reject'"
    correct, count = tally.one(
        f"SELECT coalesce(sum(label = truth), 0), count(*) FROM rows WHERE {known}", bundle
    )
    if not count:
        return ""
    lines: list[tuple[object, ...]] = [("all", count, share_with_interval(correct, count))]
    for what, column in (("label", "truth"), ("decision", "decision"), ("source", "source")):
        for name, right, of in tally.all(
            f"SELECT {column}, sum(label = truth), count(*) FROM rows WHERE {known} "
            f"GROUP BY {column} ORDER BY count(*) DESC LIMIT {_MOST_LINES}",
            bundle,
        ):
            lines.append((f"{what} {name or '(none)'}", of, share_with_interval(right, of)))
    return (
        "<h3>Accuracy where a label is given</h3>"
        + table(("", "answered", "share that is right, 95 % interval"), lines)
        + '<p class="note">Without rejected images and failures. For a label, the share is the '
        "recall.</p>"
    )


def _sources(tally: Tally, bundle: int) -> str:
    lines = tally.all(
        "SELECT source, sum(decision IS 'report'), sum(decision IS 'refer'), "
        "sum(decision IS 'reject'), count(error) FROM rows WHERE bundle = ? "
        f"GROUP BY source ORDER BY count(*) DESC LIMIT {_MOST_LINES}",
        bundle,
    )
    if len(lines) < 2:
        return ""
    return "<h3>Sources</h3>" + table(
        ("source", *_DECISIONS, "without an answer"),
        [(name or "(none)", *counts) for name, *counts in lines],
    )


def _failures(tally: Tally, bundle: int) -> str:
    lines = tally.all(
        "SELECT error, count(*), min(second), max(second) FROM rows "
        "WHERE bundle = ? AND error IS NOT NULL GROUP BY error ORDER BY count(*) DESC, error",
        bundle,
    )
    if not lines:
        return ""
    now = datetime.now(timezone.utc).timestamp()
    shown = [
        (reason, count, _time(first), _time(last), _age(now - last))
        for reason, count, first, last in lines[:_MOST_LINES]
    ]
    rest = f'<p class="note">and {plain(len(lines) - _MOST_LINES)} more reasons</p>'
    return (
        "<h3>Without an answer</h3>"
        + table(("reason", "radiographs", "first", "last", "age of the last"), shown)
        + (rest if len(lines) > _MOST_LINES else "")
    )


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "under 2 minutes"


def _throughput(tally: Tally, bundle: int) -> str:
    first, last, count = tally.one(
        "SELECT min(second), max(second), count(*) FROM rows WHERE bundle = ?", bundle
    )
    if count < 2 or last <= first:
        return ""
    length = (last - first) / _BARS
    heights = [0.0] * _BARS
    for place, rows in tally.all(
        "SELECT min(cast((second - ?) / ? AS INTEGER), ?), count(*) FROM rows WHERE bundle = ? "
        "GROUP BY 1",
        *(first, length, _BARS - 1, bundle),
    ):
        heights[place] = rows / length
    unit = f"radiographs a second; each bar is {plain(length, 2)} s"
    form = "%Y-%m-%d %H:%M" if last - first > _SECONDS_UP_TO else "%Y-%m-%d %H:%M:%S"
    return "<h3>Throughput</h3>" + bars(heights, unit, _time(first, form), _time(last, form))


def _machines(tally: Tally, bundle: int) -> str:
    lines = tally.all(
        "SELECT host, engine, count(*) FROM rows WHERE bundle = ? AND error IS NULL "
        f"GROUP BY host, engine ORDER BY count(*) DESC LIMIT {_MOST_LINES}",
        bundle,
    )
    return "<h3>Machines</h3>" + table(("machine", "engine", "radiographs"), lines)
