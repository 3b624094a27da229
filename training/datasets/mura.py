"""MURA-v1.1: studies of the upper limb, each abnormal or not.

Rajpurkar et al., MURA: Large Dataset for Abnormality Detection in Musculoskeletal Radiographs
(2018), arXiv 1712.06957.

`train/XR_WRIST/patient00006/study1_positive/image1.png`, and without headers
`train_image_paths.csv` (path) and `train_labeled_studies.csv` (folder, 0 or 1); the same for valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.datasets import importer
from orthoedge.training.datasets.importer import Imported, Progress, Skipped
from orthoedge.training.datasets.tables import read_lines

_SPLITS = ("train", "valid")
_LABELS = {"1": (importer.ABNORMAL, "positive"), "0": (importer.NON_AFFECTED, "negative")}
_NOTES = (
    "patient_id: the patient's, over all body parts and both of the publisher's splits",
    "boxes: none; the set has no annotations",
)


def read_mura(source: Path, progress: Progress) -> Imported:
    """Import MURA; its splits train and valid become one set, to be split by patient.

    Raises:
        DataError: not MURA, a CSV file is missing or broken, or no image is left.
    """
    root = importer.find_root(source, f"{_SPLITS[0]}_image_paths.csv", "MURA-v1.1")
    tables = {root / split: f"{split}_image_paths.csv" for split in _SPLITS}
    items = importer.with_unlisted(_read_rows(root), tables)
    return importer.gather(items, root, _NOTES, progress)


def _read_rows(root: Path) -> Iterator[ImageRecord | Skipped]:
    for split in _SPLITS:
        labels = _read_labels(root / f"{split}_labeled_studies.csv")
        file = root / f"{split}_image_paths.csv"
        for line, cells in read_lines(file):
            if len(cells) != 1:
                raise DataError(f"{file}, line {line}: {len(cells)} cells, expected a path alone")
            yield _record(root, cells[0], labels, f"{split}_labeled_studies.csv")


def _read_labels(file: Path) -> dict[str, str]:
    labels = {}
    for line, cells in read_lines(file):
        if len(cells) != 2 or cells[1] not in _LABELS:
            got = ",".join(cells)[:80]
            raise DataError(f"{file}, line {line}: expected a study's folder and 0 or 1, got {got}")
        labels[cells[0].rstrip("/")] = cells[1]
    return labels


def _record(root: Path, cell: str, labels: dict[str, str], where: str) -> ImageRecord | Skipped:
    parts = PurePosixPath(cell).parts
    path = root.joinpath(*parts[1:])  # the first is MURA-v1.1, whatever the folder is called now
    if len(parts) != 6 or ".." in parts:
        expected = "MURA-v1.1/train/XR_WRIST/patient00006/study1_positive/image1.png"
        return Skipped(path, f"unreadable path: {cell}; expected one such as {expected}")
    if not path.is_file():
        return Skipped(path, "absent: it is listed, but there is no file")
    value = labels.get("/".join(parts[:-1]))
    if value is None:
        return Skipped(path, f"no label: {where} has no row for its study")
    label, word = _LABELS[value]
    if not parts[4].endswith(f"_{word}"):
        return Skipped(path, f"contradictory label: {value} in {where}, folder {parts[4]}")
    return ImageRecord(path, label, patient_id=parts[3], source="mura", body_part=parts[2])
