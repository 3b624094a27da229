"""The report of a cleaning: a table, a list of removed images and two contact sheets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.training.data.index import ImageRecord, write_table
from orthoedge.training.data_quality.contact_sheet import Tile, write_sheet

MOST_TILES = 60
"""Pictures on a sheet."""
CONTRADICTS = "labels contradict"
"""Reason of images that show one picture under two labels."""


@dataclass(frozen=True)
class Removed:
    """An image that was left out."""

    record: ImageRecord
    """As in the index."""
    reason: str
    """A word or two; the table counts them."""
    detail: str
    """Details for the reader."""
    of: ImageRecord | None
    """The image that it repeats or contradicts."""


@dataclass(frozen=True)
class CleaningReport:
    """Every image of the index is either in `kept` or in `removed`."""

    kept: tuple[ImageRecord, ...]
    """In the order of their paths, with their merged patient ids."""
    removed: tuple[Removed, ...]
    """In the order of their paths."""
    shared: tuple[tuple[ImageRecord, ImageRecord], ...]
    """Near duplicates of one label; both are kept, with one patient_id."""

    def table(self) -> list[tuple[str, ...]]:
        """Rows of a name, a count per label and the total; the first row is the header."""
        labels = sorted({s.label for s in (*self.kept, *(r.record for r in self.removed))})
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for item in self.removed:
            counts[item.reason][item.record.label] += 1
        rows = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        rows.append(("kept", Counter(record.label for record in self.kept)))
        body = [(name, *(str(n[label]) for label in labels), str(n.total())) for name, n in rows]
        return [("", *labels, "all"), *body]

    def lines(self) -> list[str]:
        """Lines for a terminal: the table and the notes."""
        rows = self.table()
        width = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join((row[0].ljust(width[0]), *map(str.rjust, row[1:], width[1:]))) for row in rows
        ]
        return [*lines, *self.notes()]

    def notes(self) -> list[str]:
        """Remarks on what the table does not show."""
        notes = []
        if self.shared:
            notes.append(
                f"{len(self.shared)} pair(s) show one picture; both stay, with one patient_id"
            )
        contradicting = sum(r.reason == CONTRADICTS for r in self.removed)
        if contradicting:
            notes.append(
                f"{contradicting} image(s) show the picture of another under a different label: "
                "all are left out; put back those that a reader can settle"
            )
        kept = {record.label for record in self.kept}
        gone = sorted({r.record.label for r in self.removed} - kept)
        return notes + [f"no image of the label {label} is left" for label in gone]

    def write(self, out: Path) -> None:
        """Write removed.csv, cleaning.md, removed.png and shared.png; each whole or not at all."""
        rows: list[tuple[object, ...]] = []
        for item in self.removed:
            of = "" if item.of is None else item.of.path.absolute()
            known = (item.record.path.absolute(), item.record.label, item.reason, item.detail)
            rows.append((*known, of))
        header = ("path", "label", "reason", "detail", "of")
        write_table(out / "removed.csv", header, rows, errors="backslashreplace")
        write_atomic(out / "cleaning.md", self.markdown().encode(errors="backslashreplace"))
        tiles, shown = _removed_tiles(self.removed)
        note = f"{shown} of {len(self.removed)} shown; red: removed, green: stays"
        write_sheet(out / "removed.png", f"{len(self.removed)} removed", note, tiles)
        some = self.shared[: MOST_TILES // 2]
        pairs = [Tile(record.path, "stays", record.label, False) for s in some for record in s]
        note = f"{len(some)} of {len(self.shared)} pairs shown; both stay, with one patient_id"
        heading = f"{len(self.shared)} pairs show the same picture"
        write_sheet(out / "shared.png", heading, note, pairs)

    def markdown(self) -> str:
        """Render cleaning.md."""
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self.table()]
        head, *body = (f"| {' | '.join(row)} |" for row in rows)
        rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
        notes = [f"- {note}" for note in self.notes()]
        listed = "- removed.csv lists every one; removed.png and shared.png show some of them"
        return "\n".join(["# Cleaning", "", head, rule, *body, "", *notes, listed, ""])


def _removed_tiles(removed: Sequence[Removed]) -> tuple[list[Tile], int]:
    """Choose tiles that fit on a sheet, taking every reason in turn; and count the images shown."""
    gone = {id(item.record) for item in removed}
    by_reason: dict[str, list[Removed]] = defaultdict(list)
    for item in removed:
        by_reason[item.reason].append(item)
    # The first of every reason, then the second, …: rare reasons are shown next to common ones.
    turns = sorted(
        (turn, reason) for reason, items in by_reason.items() for turn in range(len(items))
    )
    chosen: list[Removed] = []
    shown: set[int] = set()
    tiles = 0
    for turn, reason in turns:
        item = by_reason[reason][turn]
        if id(item.record) in shown:  # the other side of a contradiction
            continue
        tiles += 1 if item.of is None else 2
        if tiles > MOST_TILES:
            break
        chosen.append(item)
        shown |= {id(item.record), id(item.of)} & gone
    chosen.sort(key=lambda item: (item.of is None, item.reason))
    sheet: list[Tile] = []
    for item in chosen:
        detail = item.detail if item.of is None else item.record.label
        sheet.append(Tile(item.record.path, item.reason, detail, True))
        if item.of is not None:
            too = id(item.of) in gone
            sheet.append(Tile(item.of.path, "removed too" if too else "stays", item.of.label, too))
    return sheet, len(shown)
