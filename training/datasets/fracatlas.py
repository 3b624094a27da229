"""FracAtlas: radiographs of limbs, hips and shoulders with and without fractures.

Abedeen et al., FracAtlas: A Dataset for Fracture Classification, Localization and Segmentation of
Musculoskeletal Radiographs, Scientific Data 10, 521 (2023), doi 10.1038/s41597-023-02432-4; files:
figshare 22363012.

`images/Fractured/IMG0000019.jpg`, `images/Non_fractured/`, `dataset.csv` and `Annotations/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from orthoedge.benchmarks.metrics import Box
from orthoedge.runtime.errors import InputError
from orthoedge.training.data.studies import Study
from orthoedge.training.datasets.fracatlas_boxes import find_boxes
from orthoedge.training.datasets.imported import (
    FRACTURE,
    NON_AFFECTED,
    Imported,
    Progress,
    Skipped,
    find_root,
    gather,
    unlisted,
)
from orthoedge.training.datasets.rows import Row, read_csv

_TABLE = "dataset.csv"
_FOLDERS = {"1": ("Fractured", FRACTURE), "0": ("Non_fractured", NON_AFFECTED)}
_PARTS = ("hand", "leg", "hip", "shoulder")


def read_fracatlas(source: Path, progress: Progress) -> Imported:
    """Import FracAtlas; the set names neither patient nor centre, so each image is its own group.

    Two views of one patient may thus lie in two groups.

    Raises:
        DataError: not FracAtlas, a column is missing, the COCO file is broken, or no image is left.
    """
    root = find_root(source, _TABLE, "FracAtlas")
    rows = read_csv(root / _TABLE, ("image_id", "fractured", *_PARTS))
    used, boxes_of = find_boxes(root / "Annotations")
    notes = (
        "groups: the image; the set names no patient, so two views of one may be in two groups",
        f"boxes: {used}",
    )
    return gather(_find(root, rows, boxes_of), root, notes, progress)


def _find(
    root: Path, rows: list[Row], boxes_of: Callable[[Path], tuple[Box, ...]]
) -> Iterator[Study | Skipped]:
    listed = set()
    for row in rows:
        found = _study(root, row, boxes_of)
        listed.add(found.path)
        yield found
    yield from unlisted(root / "images", listed, f"{_TABLE} with that folder's label")


def _study(root: Path, row: Row, boxes_of: Callable[[Path], tuple[Box, ...]]) -> Study | Skipped:
    where = f"{_TABLE}, line {row.line}"
    if row["fractured"] not in _FOLDERS:
        path = root / "images" / row["image_id"]
        return Skipped(path, f"contradictory label: {where}: fractured={row['fractured']}")
    folder, label = _FOLDERS[row["fractured"]]
    path = root / "images" / folder / row["image_id"]
    if not row["image_id"] or not path.is_file():
        return Skipped(path, f"absent: {where}, lists it, but there is no file")
    try:
        boxes = boxes_of(path)
    except InputError as error:
        return Skipped(path, str(error))
    if boxes and label == NON_AFFECTED:
        return Skipped(path, f"contradictory label: {where}: fractured=0, but a fracture is marked")
    return Study(
        path=path,
        label=label,
        group=path.stem,
        boxes=boxes,
        source="fracatlas",
        body_part="+".join(part for part in _PARTS if row[part] == "1"),
    )
