"""Tables of publishers, CSV files or Excel workbooks, as rows of text; and the import of one."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from orthoedge.runtime.errors import DataError
from orthoedge.training.data import index
from orthoedge.training.data.index import INDEX, ImageRecord
from orthoedge.training.datasets.folders import NOTE, patients_by_name
from orthoedge.training.datasets.importer import Imported, Progress, Skipped, gather


@dataclass(frozen=True)
class Row:
    """One row below the header."""

    line: int
    """Last line of the row in the file, from 1."""
    cells: dict[str, str]
    """Stripped text by column; empty for an empty cell."""

    def __getitem__(self, column: str) -> str:
        """Text of a cell; empty where the table has no such column."""
        return self.cells.get(column, "")


def read_csv(file: Path, columns: Sequence[str]) -> list[Row]:
    """Read the rows of a CSV file with a header.

    Raises:
        DataError: not a readable CSV file, one of `columns` is missing, or a row of another length.
    """
    return _with_header(file, read_lines(file), columns)


def read_workbook(file: Path, columns: Sequence[str]) -> list[Row]:
    """Read the rows of the first sheet of an .xlsx file with a header; 1 and 1.0 are both `1`.

    Raises:
        DataError: not a readable workbook, or one of `columns` is missing.
    """
    from openpyxl import load_workbook

    try:
        # Read-only: a workbook of a few thousand rows need not become a tree of objects.
        with (
            file.open("rb") as data,
            closing(load_workbook(data, read_only=True, data_only=True)) as workbook,
        ):
            sheet = workbook.worksheets[0]
            sheet.reset_dimensions()  # some writers state a size that is too small
            lines = [
                (line, [_text(value) for value in values])
                for line, values in enumerate(sheet.iter_rows(values_only=True), start=1)
            ]
    except (
        *(OSError, BadZipFile, zlib.error, EOFError, RuntimeError),
        *(KeyError, IndexError, ValueError, TypeError, SyntaxError),
    ) as error:  # raised for damaged archives, or damaged XML in them
        # Some of these messages quote all of the damaged bytes.
        raise DataError(f"{file}: not a readable workbook: {str(error)[:200]}") from error
    width = max((len(cells) for _, cells in lines), default=0)
    # Excel stores no empty cells at the end of a row, and keeps rows that only had a format.
    padded = [(n, [*cells, *[""] * (width - len(cells))]) for n, cells in lines if any(cells)]
    return _with_header(file, padded, columns)


def read_lines(file: Path) -> list[tuple[int, list[str]]]:
    """Read line number and cells of every line of a CSV file that is not empty.

    Raises:
        DataError: not a readable CSV file.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text)
            return [(reader.line_num, [c.strip() for c in cells]) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a readable CSV file: {error}") from error


def _with_header(
    file: Path, lines: Iterable[tuple[int, list[str]]], columns: Sequence[str]
) -> list[Row]:
    body: Iterator[tuple[int, list[str]]] = iter(lines)
    first, header = next(body, (1, []))
    index.check_columns(f"{file}, line {first}", header, columns)
    rows = []
    for line, cells in body:
        if len(cells) != len(header):
            raise DataError(f"{file}, line {line}: {len(cells)} cells for {len(header)} columns")
        rows.append(Row(line, dict(zip(header, cells, strict=True))))
    return rows


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value).strip()


def read_table(source: Path, progress: Progress) -> Imported:
    """Import a CSV file, or the index.csv of a folder; paths are from the CSV's folder.

    Columns as in `read_index`, which stops at the first error; this skips the image instead.

    Raises:
        DataError: not a CSV file, column path or label is missing, or no image is left.
    """
    file = source / INDEX if source.is_dir() else source
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected a CSV file with columns path and label")
    lines = read_lines(file)
    if lines:
        lines[0] = (lines[0][0], index.current_columns(lines[0][1], file))
    rows = _with_header(file, lines, ("path", "label"))
    if rows and "patient_id" in rows[0].cells:
        note, copies = "patient_id: the column; an image without one is alone", {}
    else:
        note, copies = NOTE, patients_by_name((file.parent / r["path"], r["label"]) for r in rows)
    items = (_record(file, row, copies) for row in rows)
    return gather(items, file, (note, "boxes: the column boxes"), progress)


def _record(file: Path, row: Row, copies: dict[Path, str]) -> ImageRecord | Skipped:
    path = file.parent / row["path"]
    where = f"{file.name}, line {row.line}"
    if not row["path"] or not path.is_file():
        return Skipped(path, f"absent: {where}, lists it, but there is no file")
    if not row["label"]:
        return Skipped(path, f"no label: {where}, column label: empty")
    cells = {column: row[column] for column in index.COLUMNS}
    cells["patient_id"] = cells["patient_id"] or copies.get(path) or row["path"]
    try:
        record = index.record_of(cells, file.parent, where)
    except DataError as error:
        return Skipped(path, f"bad box: {error}")
    if record.mask is not None and not record.mask.is_file():
        return Skipped(path, f"absent mask: {where}, column mask: no file {record.mask}")
    return record
