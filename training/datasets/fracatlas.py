"""FracAtlas: radiographs with and without fractures; boxes from COCO, YOLO or PASCAL VOC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.datasets import importer
from orthoedge.training.datasets.boxes import Pixels, fractions_of, image_size
from orthoedge.training.datasets.importer import Imported, Progress, Skipped
from orthoedge.training.datasets.labelme import read_json
from orthoedge.training.datasets.tables import Row, read_csv


class _Image(msgspec.Struct):
    id: int
    width: int
    height: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    bbox: tuple[float, float, float, float]  # x, y, width, height


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


def find_boxes(folder: Path) -> tuple[str, Callable[[Path], tuple[Box, ...]]]:
    """Choose the annotation format of `Annotations/`; return its name and a function per image.

    The function raises InputError where an image's annotation cannot be read, is of a different
    size, or lies outside the image.

    Raises:
        DataError: the COCO file is damaged.
    """
    coco = folder / "COCO JSON" / "COCO_fracture_masks.json"
    if coco.is_file():
        return f"Annotations/{coco.parent.name}/{coco.name}", partial(_coco, _read_coco(coco))
    if (folder / "YOLO").is_dir():
        return "Annotations/YOLO (there is no COCO file)", partial(_yolo, folder / "YOLO")
    if (folder / "PASCAL VOC").is_dir():
        used = "Annotations/PASCAL VOC (there is neither a COCO file nor YOLO)"
        return used, partial(_voc, folder / "PASCAL VOC")
    return "none; there are no annotations", lambda _: ()


_Annotated = tuple[list[Pixels], tuple[int, int]]  # boxes; width and height they were drawn for


def _read_coco(file: Path) -> dict[str, _Annotated]:
    try:
        coco = read_json(file, _Coco)
    except ValueError as error:
        raise DataError(f"{file}: not a readable COCO file: {error}") from error
    boxes: dict[int, list[Pixels]] = defaultdict(list)
    for annotation in coco.annotations:
        x, y, width, height = annotation.bbox
        boxes[annotation.image_id].append((x, y, x + width, y + height))
    return {i.file_name: (boxes[i.id], (i.width, i.height)) for i in coco.images}


def _coco(annotated: dict[str, _Annotated], path: Path) -> tuple[Box, ...]:
    boxes, stated = annotated.get(path.name, ([], (0, 0)))
    return fractions_of(boxes, path, stated) if boxes else ()


def _yolo(folder: Path, path: Path) -> tuple[Box, ...]:
    """Read lines `class x y width height`, with centre and size as fractions."""
    file = folder / f"{path.stem}.txt"
    if not file.is_file():
        return ()
    boxes = []
    try:
        lines = [line.split() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        for _, x, y, w, h in (map(float, line) for line in lines):
            boxes.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    except (OSError, ValueError) as error:
        raise InputError(f"unreadable annotation: {file.name}: {error}") from error
    if not boxes:
        return ()
    width, height = image_size(path)
    pixels = [(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes]
    return fractions_of(pixels, path, (width, height))


def _voc(folder: Path, path: Path) -> tuple[Box, ...]:
    file = folder / f"{path.stem}.xml"
    if not file.is_file():
        return ()
    try:
        tree = ElementTree.parse(file)
        stated = (int(tree.findtext("size/width", "")), int(tree.findtext("size/height", "")))
        boxes = []
        for box in tree.iterfind("object/bndbox"):
            x0, y0, x1, y1 = (float(box.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append((x0, y0, x1, y1))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"unreadable annotation: {file.name}: {error}") from error
    return fractions_of(boxes, path, stated) if boxes else ()


_TABLE = "dataset.csv"
_FOLDERS = {"1": ("Fractured", importer.FRACTURE), "0": ("Non_fractured", importer.NON_AFFECTED)}
_PARTS = ("hand", "leg", "hip", "shoulder")


def read_fracatlas(source: Path, progress: Progress) -> Imported:
    """Import FracAtlas; the set names no patient and no site, so each image has an id of its own.

    Two views of one patient may thus lie in two splits.

    Raises:
        DataError: not FracAtlas, a missing column, a damaged COCO file, or no image is left.
    """
    root = importer.find_root(source, _TABLE, "FracAtlas")
    rows = read_csv(root / _TABLE, ("image_id", "fractured", *_PARTS))
    used, boxes_of = find_boxes(root / "Annotations")
    notes = (
        "patient_id: the image; the set names no patient, so two views of one may have two ids",
        f"boxes: {used}",
    )
    table = f"{_TABLE} with that folder's label"
    records = (_record(root, row, boxes_of) for row in rows)
    items = importer.with_unlisted(records, {root / "images": table})
    return importer.gather(items, root, notes, progress)


def _record(
    root: Path, row: Row, boxes_of: Callable[[Path], tuple[Box, ...]]
) -> ImageRecord | Skipped:
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
    if boxes and label == importer.NON_AFFECTED:
        return Skipped(path, f"contradictory label: {where}: fractured=0, but a fracture is marked")
    return ImageRecord(
        path=path,
        label=label,
        patient_id=path.stem,
        boxes=boxes,
        source="fracatlas",
        body_part="+".join(part for part in _PARTS if row[part] == "1"),
    )
