"""The contents of a benchmark's page: what its template shows as tables, tiles and pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthoedge.benchmarks.report.formatting import (
    NONE,
    accuracy_of,
    candidate_of,
    figure,
    own,
    speedup_over_baseline,
)
from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.report.tables import Table
from orthoedge.benchmarks.schema import Accuracy, Report

_FIGURE = re.compile(r"(\S+) \((\S+) to (\S+)\)")
_LONG = 18  # letters from which a cell takes a narrow page's whole width
_NARROW = 5  # columns that fit on a narrow page
_STYLES = {NONE: "none", "holds": "good", "does not hold": "bad", "cannot tell": "warn"}
_DESCRIPTIONS = ("a call", "what is compared")


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    column: str
    style: str
    text: str
    interval: str


@dataclass(frozen=True)
class Row:
    """A row of a table, which becomes a block on a narrow page."""

    name: str
    about: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str

    @property
    def wide(self) -> bool:
        """Whether it has more columns than a narrow page."""
        return len(self.head) > _NARROW


@dataclass(frozen=True)
class MatrixCell:
    """A count of a confusion matrix, with its share of the true label."""

    count: int
    share: str
    shade: str


@dataclass(frozen=True)
class MatrixRow:
    """One true label."""

    label: str
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    labels: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


@dataclass(frozen=True)
class Picture:
    """A PNG, encoded in base64, and the predicted label; empty: none."""

    name: str
    png: str
    predicted: str


@dataclass(frozen=True)
class Radiograph:
    """A radiograph of the gallery: plain, and under the maps of teacher and student."""

    truth: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Tile:
    """One of the figures at the head of the page."""

    value: str
    label: str


def table_of(content: Table) -> PageTable | None:
    """The contents of a table; None without rows."""
    if not content.rows:
        return None
    head, rows = content.head, content.rows
    about = [""] * len(rows)
    if head[-1] in _DESCRIPTIONS:  # a sentence is easier to read below the name than at the end
        about = [row[-1] for row in rows]
        head, rows = head[:-1], tuple(row[:-1] for row in rows)
    return PageTable(
        head,
        tuple(
            Row(row[0], text, tuple(map(_cell, head[1:], row[1:])))
            for row, text in zip(rows, about, strict=True)
        ),
        content.note,
    )


def matrix_of(scores: Accuracy, labels: Sequence[str]) -> Matrix:
    """The confusion matrix, shaded by the share of the true label."""
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        MatrixRow(
            label,
            tuple(
                MatrixCell(int(n), f"{share:.0%}", f"{0.06 + 0.5 * share:.2f}")
                for n, share in zip(row, share_of_row, strict=True)
            ),
        )
        for label, row, share_of_row in zip(labels, counts, shares, strict=True)
    ]
    return Matrix(tuple(labels), tuple(rows))


def radiograph_of(shown: GalleryItem) -> Radiograph:
    """The pictures of one radiograph."""
    pictures = [_picture("radiograph", shown.plain, "")]
    if shown.teacher_map is not None:
        pictures.append(_picture("ensemble", shown.teacher_map, shown.teacher))
    pictures.append(_picture("student", shown.student_map, shown.student))
    return Radiograph(shown.truth, tuple(pictures))


def tiles_of(report: Report) -> tuple[Tile, ...]:
    """The four most important figures."""
    key = " ".join(own(report))
    pipeline = candidate_of(report, key)
    if pipeline is None:
        return ()
    times = pipeline.latency
    tiles = [Tile(f"{figure(times.p50)} ms", f"{key}, median; p90 {figure(times.p90)}")]
    if (speedup := speedup_over_baseline(report, pipeline)) is not None:
        ends = f"{figure(speedup.low)} to {figure(speedup.high)}"
        tiles.append(Tile(f"{figure(speedup.value)} ×", f"as fast as the PyTorch baseline, {ends}"))
    if (scores := accuracy_of(report, pipeline)) is not None:
        f1 = scores.macro_f1
        tiles.append(Tile(f"{f1.value:.3f}", f"macro-F1, {f1.low:.3f} to {f1.high:.3f}"))
    tiles += [
        Tile(f"{figure(row.bundle_mb)} MB", "the whole bundle")
        for row in report.footprint
        if row.key == key
    ]
    return tuple(tiles)


def _cell(column: str, text: str) -> Cell:
    match = _FIGURE.fullmatch(text)
    if match:
        return Cell(column, "", match[1], f"{match[2]} – {match[3]}")
    return Cell(column, _STYLES.get(text, "long" if len(text) > _LONG else ""), text, "")


def _picture(name: str, png: bytes, predicted: str) -> Picture:
    return Picture(name, base64.b64encode(png).decode(), predicted)
