"""A plain CSV file: path and label, and what else is known, as in this project's own index."""

from __future__ import annotations

from pathlib import Path

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.studies import INDEX, Study, parse_boxes
from orthoedge.training.datasets.copies import NOTE, groups_by_name
from orthoedge.training.datasets.imported import Imported, Progress, Skipped, gather
from orthoedge.training.datasets.rows import Row, read_csv


def read_table(source: Path, progress: Progress) -> Imported:
    """Import a CSV file, or the index.csv of a folder; paths are from the CSV's folder.

    Columns as in `read_index`. Where that stops at the first fault, this skips the image.

    Raises:
        DataError: not a CSV file, column path or label is missing, or no image is left.
    """
    file = source / INDEX if source.is_dir() else source
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected a CSV file with columns path and label")
    rows = read_csv(file, ("path", "label"))
    if rows and "group" in rows[0].cells:
        groups, copies = "groups: the column group; an image without one is alone", {}
    else:
        groups, copies = NOTE, groups_by_name((file.parent / r["path"], r["label"]) for r in rows)
    found = (_study(file, row, copies) for row in rows)
    return gather(found, file, (groups, "boxes: the column boxes"), progress)


def _study(file: Path, row: Row, copies: dict[Path, str]) -> Study | Skipped:
    path = file.parent / row["path"]
    where = f"{file.name}, line {row.line}"
    if not row["path"] or not path.is_file():
        return Skipped(path, f"absent: {where}, lists it, but there is no file")
    if not row["label"]:
        return Skipped(path, f"no label: {where}, column label: empty")
    mask = file.parent / row["mask"] if row["mask"] else None
    if mask is not None and not mask.is_file():
        return Skipped(path, f"absent mask: {where}, column mask: no file {mask}")
    try:
        boxes = parse_boxes(row["boxes"], f"{where}, column boxes")
    except DataError as error:
        return Skipped(path, f"bad box: {error}")
    return Study(
        path=path,
        label=row["label"],
        group=row["group"] or copies.get(path) or row["path"],
        boxes=boxes,
        mask=mask,
        source=row["source"],
        centre=row["centre"],
        body_part=row["body_part"],
    )
