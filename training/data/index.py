"""The dataset index: one record per radiograph, with its label, patient and lesions."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.image_io.folder import Entry, FolderContents, list_folder
from orthoedge.training.data_quality.duplicates import file_digests
from orthoedge.training.recipe import Recipe

INDEX = "index.csv"
_TEXT_COLUMNS = ("label", "patient_id", "source", "site", "body_part", "age", "sex")
COLUMNS = ("path", *_TEXT_COLUMNS, "boxes", "mask")
"""Columns of an index, in the order in which `write_index` writes them."""
_OLD_COLUMNS = {"group": "patient_id", "centre": "site"}  # as written before the names changed


@dataclass(frozen=True)
class ImageRecord:
    """One row of the dataset index: an image, its label and its patient."""

    path: Path
    """The image file."""
    label: str
    """Its class."""
    patient_id: str
    """Patient, or examination; all images of a patient stay in one split."""
    boxes: tuple[Box, ...] = ()
    """Lesions: x0, y0, x1, y1 as fractions of the radiograph's width and height."""
    mask: Path | None = None
    """Lesion mask, non-zero inside, where the set has one."""
    source: str = ""
    """Collection of the image; `phantom` for a rendered one."""
    site: str = ""
    """Hospital or collection site, where the set names it; a split can hold whole sites out."""
    body_part: str = ""
    """Body part, as the set names it."""
    age: str = ""
    """Years, such as `12` or `0.5`, where the set names it; other text counts as not known."""
    sex: str = ""
    """As the set names it."""


def read_index(source: Path) -> list[ImageRecord]:
    """Read an index file or a folder.

    Args:
        source: a CSV file; a folder with index.csv; or a folder with one sub-folder per class.
            Columns: path (from the CSV's folder) and label; optional patient_id, source,
            site, body_part, age (years), sex, mask and boxes (JSON list of [x0, y0, x1, y1] as
            fractions of width and height). The old names group (patient_id) and centre (site) are
            read too; other columns are ignored.

    Raises:
        DataError: with file, line and column: a missing column, a bad box, a missing image, a path
            listed twice, or an empty index.
    """
    if source.is_dir() and not (source / INDEX).is_file():
        return _read_class_folders(source)
    file = source / INDEX if source.is_dir() else source
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            reader.fieldnames = current_columns(reader.fieldnames or (), file)
            check_columns(f"{file}, line 1", reader.fieldnames, ("path", "label"))
            rows = [(reader.line_num, _row(file, reader.line_num, row)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a readable index: {error}") from error
    if not rows:
        raise DataError(f"{file}: the index lists no image")
    records = [record for _, record in rows]
    missing = [(line, record.path) for line, record in rows if not _is_file(record.path)]
    if missing:
        line, path = missing[0]
        raise DataError(
            f"{file}, line {line}, column path: no file {path} ({len(missing)} of {len(rows)} are "
            f"missing; relative paths start from the index's folder, {file.parent.absolute()})"
        )
    path, count = Counter(record.path for record in records).most_common(1)[0]
    if count > 1:
        raise DataError(f"{file}: column path: {path} is listed {count} times")
    return records


def current_columns(columns: Sequence[str], file: Path) -> list[str]:
    """Columns of a table under their current names.

    Raises:
        DataError: a column is there under its old and its new name.
    """
    for old, new in _OLD_COLUMNS.items():
        if old in columns and new in columns:
            same = f"columns {new} and {old} mean the same; remove one of them"
            raise DataError(f"{file}, line 1: {same}")
    return [_OLD_COLUMNS.get(name, name) for name in columns]


def check_columns(where: str, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise DataError, naming the place `where`, unless every `needed` column is there."""
    for name in needed:
        if name not in columns:
            got = ", ".join(columns) or "an empty file"
            raise DataError(f"{where}: column {name} is missing (got {got})")


def _row(file: Path, line: int, row: dict[str, str]) -> ImageRecord:
    where = f"{file}, line {line}"
    if None in row or None in row.values():
        raise DataError(f"{where}: more or fewer cells than columns (quote a cell with commas)")
    for column in _TEXT_COLUMNS:  # `P1 ` of a spreadsheet is the patient `P1`
        row[column] = row.get(column, "").strip()
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}, column {column}: empty")
    row["patient_id"] = row["patient_id"] or row["path"]
    record = record_of({"boxes": "", "mask": "", **row}, file.parent, where)
    if record.mask is not None and not _is_file(record.mask):
        raise DataError(f"{where}, column mask: no file {record.mask}")
    return record


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for a name that is too long


def record_of(row: Mapping[str, str], root: Path, where: str) -> ImageRecord:
    """Record of the text by column, with paths from `root`; the reverse of `cells`.

    Raises:
        DataError: a bad box, at the place `where`.
    """
    boxes = parse_boxes(row["boxes"], f"{where}, column boxes")
    mask = root / row["mask"] if row["mask"] else None
    known = (row["source"], row["site"], row["body_part"], row.get("age", ""), row.get("sex", ""))
    return ImageRecord(root / row["path"], row["label"], row["patient_id"], boxes, mask, *known)


def years(age: str) -> float | None:
    """Years of an `ImageRecord.age`, 0 to 150; None: not known."""
    try:
        value = float(age)
    except ValueError:
        return None
    return value if 0 <= value <= 150 else None


def write_index(file: Path, records: Iterable[ImageRecord]) -> None:
    """Write an index, atomically; `read_index` reads back the same records.

    A path inside the CSV's folder is written relative to it, so that the folder can move, and any
    other one as an absolute path.

    Raises:
        DataError: no record, an empty label or patient_id, a bad box, or a name that is not text.
    """
    rows = []
    for record in records:
        if not record.label or not record.patient_id:
            raise DataError(f"{file}: {record.path}: an image needs a label and a patient_id")
        for column in _TEXT_COLUMNS:
            if getattr(record, column) != getattr(record, column).strip():
                raise DataError(f"{file}: {record.path}: space around its {column}")
        row = cells(record, lambda path: _relative(path, file.parent))
        parse_boxes(row[-2], f"{file}: {record.path}")
        try:
            "".join(row).encode()
        except UnicodeEncodeError as error:
            shown = ascii(str(record.path))
            raise DataError(f"{file}: {shown}: not valid UTF-8; rename the file") from error
        rows.append(row)
    if not rows:
        raise DataError(f"{file}: no image to list")
    write_table(file, COLUMNS, rows)


def write_table(
    file: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    newline: str = "\r\n",
    errors: str = "strict",
) -> None:
    """Write a CSV file in UTF-8, atomically; `errors` as in `str.encode`."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=newline).writerows((header, *rows))
    write_atomic(file, text.getvalue().encode(errors=errors))


def cells(record: ImageRecord, written: Callable[[Path], str]) -> tuple[str, ...]:
    """Text of a record's cells, in the order of `COLUMNS`, with paths as `written` gives them."""
    known = tuple(getattr(record, column) for column in _TEXT_COLUMNS)
    boxes = json.dumps([[float(v) for v in box] for box in record.boxes]) if record.boxes else ""
    mask = "" if record.mask is None else written(record.mask)
    return (written(record.path), *known, boxes, mask)


def _relative(path: Path, folder: Path) -> str:
    inside = path.is_relative_to(folder) and ".." not in path.relative_to(folder).parts
    return str(path.relative_to(folder) if inside else path.absolute())


def parse_boxes(text: str, where: str) -> tuple[Box, ...]:
    """Parse the boxes of a cell; an empty cell has none.

    Raises:
        DataError: not a JSON list of [x0, y0, x1, y1] with 0 ≤ x0 < x1 ≤ 1 and so for y.
    """
    if not text.strip():
        return ()
    try:
        boxes = tuple(tuple(float(v) for v in box) for box in json.loads(text))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where}: expected a JSON list of boxes, got {text[:80]}") from error
    for box in boxes:
        fits = len(box) == 4 and all(map(math.isfinite, box))
        if not (fits and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise DataError(
                f"{where}: expected [x0, y0, x1, y1] as fractions, x0 < x1 and y0 < y1, "
                f"got {list(box)}"
            )
    return boxes  # type: ignore[return-value]


def _read_class_folders(source: Path) -> list[ImageRecord]:
    records: list[ImageRecord] = []
    passed_over: list[Entry] = []
    for folder in sorted(source.iterdir()):
        if not folder.is_dir():
            passed_over.append(Entry(folder, "in no class folder"))
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        contents = list_folder(folder)
        if contents.unreadable:
            entry = contents.unreadable[0]
            raise DataError(f"{entry.path}: cannot be read: {entry.reason}")
        passed_over += contents.passed_over
        for path in contents.images:
            if any(part.startswith(".") for part in path.relative_to(source).parts):
                passed_over.append(Entry(path, "hidden"))
            else:
                records.append(ImageRecord(path, folder.name, str(path.relative_to(source))))
    if not records:
        raise DataError(f"{source}: neither {INDEX} nor sub-folders with images")
    if line := FolderContents((), tuple(passed_over), ()).line():
        print(line, file=sys.stderr)
    return records


def check_labels(records: Iterable[ImageRecord], labels: Sequence[str]) -> None:
    """Raise DataError unless the images' labels are exactly the recipe's `labels`."""
    path_of = {record.label: record.path for record in records}
    for label, path in path_of.items():
        if label not in labels:
            raise DataError(f"{path}: label {label} is not one of {list(labels)}")
    for label in labels:
        if label not in path_of:
            raise DataError(f"no image has the label {label}, which the recipe names")


def list_sha256(records: Iterable[ImageRecord], digests: Sequence[str] | None = None) -> str:
    """Hash the contents, labels, patients and boxes of a list of images.

    Independent of the order and the folder, so a copy of the set has the same value.

    Args:
        records: the list.
        digests: SHA-256 of each file, as `RadiographDataset.digests`; None: read them here.

    Raises:
        DataError: a file cannot be read.
    """
    listed = list(records)
    known = file_digests([s.path for s in listed]) if digests is None else digests
    lines = sorted(
        json.dumps([digest, s.label, s.patient_id, s.boxes])
        for s, digest in zip(listed, known, strict=True)
    )
    return sha256("\n".join(lines).encode())


@dataclass(frozen=True)
class RecordSelection:
    """Images with the recipe's labels, and counts of the other labels that were left out."""

    records: tuple[ImageRecord, ...]
    left_out: dict[str, int]

    def line(self) -> str:
        """Return one line for the log."""
        count = sum(self.left_out.values())
        names = ", ".join(f"{n} {label}" for label, n in sorted(self.left_out.items()))
        return f"left out {count} of {count + len(self.records)} images: {names}"


def select_records(
    records: Sequence[ImageRecord], recipe: Recipe, every_label: bool = True
) -> RecordSelection:
    """Leave out images of other labels if the recipe says so.

    Args:
        records: to choose from.
        recipe: its labels, and what is done about others.
        every_label: whether each of its labels must have an image; else two must.

    Raises:
        DataError: a label that is not the recipe's where `other_labels` is `refuse`, or a label of
            the recipe that no image has.
    """
    others = Counter(record.label for record in records if record.label not in recipe.labels)
    if recipe.other_labels == "leave out":
        records = [record for record in records if record.label not in others]
    present = {record.label for record in records}
    some = [label for label in recipe.labels if label in present]
    check_labels(records, recipe.labels if every_label or len(some) < 2 else some)
    return RecordSelection(tuple(records), dict(others))
