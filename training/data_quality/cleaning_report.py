"""What cleaning removed, as a table, a list and two sheets of pictures."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data_quality.contact_sheet import Tile, write_sheet

MOST_TILES = 60
"""Pictures on a sheet."""
CONTRADICTS = "labels contradict"
"""Reason of what shows one picture under two labels."""


@dataclass(frozen=True)
class Removed:
    """A record that was left out."""

    record: ImageRecord
    """As it stood in the index."""
    reason: str
    """One word or two, to count by."""
    detail: str
    """What was found."""
    of: ImageRecord | None
    """The record it repeats or contradicts."""


@dataclass(frozen=True)
class CleaningReport:
    """Every record of the index is either in `kept` or in `removed`."""

    kept: tuple[ImageRecord, ...]
    """In the order of their paths, with the groups they share from now on."""
    removed: tuple[Removed, ...]
    """In the order of their paths."""
    shared: tuple[tuple[ImageRecord, ImageRecord], ...]
    """Near duplicates of one label, both kept, in one group."""

    def table(self) -> list[tuple[str, ...]]:
        """Rows of a name, a count for each label and the total; the first row is the head."""
        labels = sorted({s.label for s in (*self.kept, *(r.record for r in self.removed))})
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.removed:
            counts[one.reason][one.record.label] += 1
        rows = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        rows.append(("kept", Counter(record.label for record in self.kept)))
        body = [(name, *(str(n[label]) for label in labels), str(n.total())) for name, n in rows]
        return [("", *labels, "all"), *body]

    def lines(self) -> list[str]:
        """For a terminal: the table, and what else a reader should know."""
        rows = self.table()
        width = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join((row[0].ljust(width[0]), *map(str.rjust, row[1:], width[1:]))) for row in rows
        ]
        return [*lines, *self.notes()]

    def notes(self) -> list[str]:
        """Sentences that the table does not hold."""
        notes = []
        if self.shared:
            notes.append(f"{len(self.shared)} pair(s) look alike, stay, and share a group")
        contradicting = sum(r.reason == CONTRADICTS for r in self.removed)
        if contradicting:
            notes.append(
                f"{contradicting} image(s) show what another one shows under a different label: "
                "all of them are left out; put back by hand what a reader can settle"
            )
        kept = {record.label for record in self.kept}
        gone = sorted({r.record.label for r in self.removed} - kept)
        return notes + [f"no image of the label {label} is left" for label in gone]


def write_report(out: Path, report: CleaningReport) -> None:
    """Write removed.csv, cleaning.md, removed.png and shared.png; each whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("path", "label", "reason", "detail", "of"))
    for one in report.removed:
        of = "" if one.of is None else one.of.path.absolute()
        writer.writerow((one.record.path.absolute(), one.record.label, one.reason, one.detail, of))
    write_atomic(out / "removed.csv", text.getvalue().encode(errors="backslashreplace"))
    write_atomic(out / "cleaning.md", _markdown(report).encode(errors="backslashreplace"))
    tiles, shown = _removed_tiles(report.removed)
    note = f"{shown} of {len(report.removed)} shown; red: removed, green: the one that stays"
    write_sheet(out / "removed.png", f"{len(report.removed)} removed", note, tiles)
    some = report.shared[: MOST_TILES // 2]
    pairs = [Tile(record.path, "stays", record.label, False) for pair in some for record in pair]
    note = f"{len(some)} of {len(report.shared)} pairs shown; both stay, in one group"
    write_sheet(out / "shared.png", f"{len(report.shared)} pairs look alike", note, pairs)


def _removed_tiles(removed: Sequence[Removed]) -> tuple[list[Tile], int]:
    """Tiles of as many as fit, every reason in turn, pairs first; and how many they are."""
    gone = {id(one.record) for one in removed}
    by_reason: dict[str, list[Removed]] = defaultdict(list)
    for one in removed:
        by_reason[one.reason].append(one)
    # The first of every reason, then the second, …: a rare reason is seen beside a common one.
    turns = sorted(
        ((turn, reason) for reason, ones in by_reason.items() for turn in range(len(ones))),
    )
    chosen: list[Removed] = []
    shown: set[int] = set()
    tiles = 0
    for turn, reason in turns:
        one = by_reason[reason][turn]
        if id(one.record) in shown:  # the other side of a contradiction
            continue
        tiles += 1 if one.of is None else 2
        if tiles > MOST_TILES:
            break
        chosen.append(one)
        shown |= {id(one.record), id(one.of)} & gone
    chosen.sort(key=lambda one: (one.of is None, one.reason))
    sheet: list[Tile] = []
    for one in chosen:
        if one.of is None:
            sheet.append(Tile(one.record.path, one.reason, one.detail, True))
            continue
        too = id(one.of) in gone
        sheet.append(Tile(one.record.path, one.reason, one.record.label, True))
        sheet.append(Tile(one.of.path, "removed too" if too else "stays", one.of.label, too))
    return sheet, len(shown)


def _markdown(report: CleaningReport) -> str:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in report.table()]
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    notes = [f"- {note}" for note in report.notes()]
    listed = ["- removed.csv lists each one; removed.png and shared.png show some of them"]
    return "\n".join(["# Cleaning", "", head, rule, *body, "", *notes, *listed, ""])
