"""BTXRD: radiographs of primary bone tumours and of bones without one, from three centres.

Yao et al., A Radiograph Dataset for the Classification, Localization, and Segmentation of Primary
Bone Tumors, Scientific Data 12 (2025), doi 10.1038/s41597-024-04311-y; files: figshare 27865398.

`images/IMG000001.jpeg`, `Annotations/IMG000001.json` (LabelMe, tumours only) and `dataset.xlsx`.
"""

from __future__ import annotations

from pathlib import Path

from orthoedge.runtime.errors import InputError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.datasets import importer
from orthoedge.training.datasets.importer import Imported, Progress, Skipped
from orthoedge.training.datasets.labelme import labelme_boxes
from orthoedge.training.datasets.tables import Row, read_workbook

_TABLE = "dataset.xlsx"
_CLASS = ("tumor", "benign", "malignant")
_LABELS = {
    ("0", "0", "0"): importer.NON_AFFECTED,
    ("1", "1", "0"): importer.BENIGN,
    ("1", "0", "1"): importer.MALIGNANT,
}
# The columns of single bones are filled for tumours alone: as a body part they would be the label.
_REGIONS = ("upper limb", "lower limb", "pelvis")
_NOTES = (
    "patient_id: site, age and gender together; the set names no patient, and these three keep "
    "the images of one patient together",
    "boxes: rectangles and polygons of Annotations/*.json (LabelMe)",
)


def read_btxrd(source: Path, progress: Progress) -> Imported:
    """Import BTXRD; `site` is the set's own number of the centre, `body_part` its region.

    A patient who was imaged at two ages gets two ids: nothing in the set links them.

    Raises:
        DataError: not BTXRD, a column is missing, or no image is left.
    """
    root = importer.find_root(source, _TABLE, "BTXRD")
    columns = ("image_id", "center", "age", "gender", *_CLASS, *_REGIONS)
    rows = read_workbook(root / _TABLE, columns)
    items = importer.with_unlisted((_record(root, row) for row in rows), {root / "images": _TABLE})
    return importer.gather(items, root, _NOTES, progress)


def _record(root: Path, row: Row) -> ImageRecord | Skipped:
    path = root / "images" / row["image_id"]
    if not row["image_id"] or not path.is_file():
        return Skipped(path, f"absent: {_TABLE}, line {row.line}, lists it, but there is no file")
    label = _LABELS.get((row["tumor"], row["benign"], row["malignant"]))
    if label is None:
        cells = ", ".join(f"{column}={row[column] or 'empty'}" for column in _CLASS)
        return Skipped(path, f"contradictory label: {_TABLE}, line {row.line}: {cells}")
    annotation = root / "Annotations" / f"{path.stem}.json"
    try:
        boxes = labelme_boxes(annotation, path) if annotation.is_file() else ()
    except InputError as error:
        return Skipped(path, str(error))
    if boxes and label == importer.NON_AFFECTED:
        return Skipped(path, f"contradictory label: no tumour, but {annotation.name} marks one")
    return ImageRecord(
        path=path,
        label=label,
        patient_id=f"centre {row['center']}, age {row['age'] or '?'}, {row['gender'] or '?'}",
        boxes=boxes,
        source="btxrd",
        site=row["center"],
        body_part="+".join(region for region in _REGIONS if row[region] == "1"),
        age=row["age"],
        sex=row["gender"],
    )
