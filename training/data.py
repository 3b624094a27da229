"""Studies: the index that lists them, the split by group, and the images the network trains on."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from orthoedge.benchmarks.metrics import Box
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.intake import find_images, read_image
from orthoedge.runtime.preprocess import Placement, Preprocess
from orthoedge.training.crops import boxes_in_crop, place_crop
from orthoedge.training.recipe import SplitFractions

Pixels = npt.NDArray[np.uint8]

INDEX = "index.csv"
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Study:
    """One radiograph of the index."""

    path: Path
    """The image file."""
    label: str
    """Its class."""
    group: str
    """Patient or examination; all images of a group stay in one part of the split."""
    boxes: tuple[Box, ...] = ()
    """Lesions: x0, y0, x1, y1 as fractions of the radiograph's width and height."""
    mask: Path | None = None
    """Lesion mask, non-zero inside, where the set has one."""
    source: str = ""
    """Collection it comes from; `phantom` for a rendered one."""


@dataclass(frozen=True)
class Split:
    """Studies to learn from, to choose by, and to measure on. No group is in two of them."""

    train: tuple[Study, ...]
    val: tuple[Study, ...]
    test: tuple[Study, ...]


def read_index(source: Path) -> list[Study]:
    """Read the studies of an index file or a folder.

    Args:
        source: a CSV file; a folder with index.csv; or a folder with one sub-folder per class.
            Columns: path (from the CSV's folder) and label; optional group, source, mask and
            boxes (JSON list of [x0, y0, x1, y1] as fractions of width and height). Others are not
            read.

    Raises:
        DataError: with file, line and column: a missing column, a bad box, a missing image, a path
            listed twice, or nothing at all.
    """
    if source.is_dir() and not (source / INDEX).is_file():
        return _read_class_folders(source)
    file = source / INDEX if source.is_dir() else source
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            _check_columns(file, reader.fieldnames)
            studies = [_row(file, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a readable index: {error}") from error
    if not studies:
        raise DataError(f"{file}: the index lists no image")
    path, count = Counter(study.path for study in studies).most_common(1)[0]
    if count > 1:
        raise DataError(f"{file}: column path: {path} is listed {count} times")
    return studies


def _check_columns(file: Path, columns: Sequence[str] | None) -> None:
    for name in ("path", "label"):
        if name not in (columns or ()):
            got = ", ".join(columns or ()) or "an empty file"
            raise DataError(f"{file}, line 1: column {name} is missing (got {got})")


def _row(file: Path, line: int, row: dict[str, str]) -> Study:
    where = f"{file}, line {line}"
    if None in row or None in row.values():
        raise DataError(f"{where}: more or fewer cells than columns (quote a cell with commas)")
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}, column {column}: empty")
    path = file.parent / row["path"]
    if not path.is_file():
        raise DataError(f"{where}, column path: no file {path}")
    mask = file.parent / row["mask"] if row.get("mask") else None
    if mask is not None and not mask.is_file():
        raise DataError(f"{where}, column mask: no file {mask}")
    boxes = parse_boxes(row.get("boxes", ""), f"{where}, column boxes")
    return Study(
        path, row["label"], row.get("group") or row["path"], boxes, mask, row.get("source", "")
    )


def parse_boxes(text: str, where: str) -> tuple[Box, ...]:
    """Boxes of a cell; empty text is none.

    Raises:
        DataError: not a JSON list of [x0, y0, x1, y1] with 0 ≤ x0 < x1 ≤ 1 and so for y.
    """
    if not text.strip():
        return ()
    try:
        boxes = tuple(tuple(float(v) for v in box) for box in json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{where}: expected a JSON list of boxes, got {text[:80]}") from error
    for box in boxes:
        fits = len(box) == 4 and all(map(math.isfinite, box))
        if not (fits and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise DataError(
                f"{where}: expected [x0, y0, x1, y1] as fractions, x0 < x1 and y0 < y1, "
                f"got {list(box)}"
            )
    return boxes  # type: ignore[return-value]


def _read_class_folders(source: Path) -> list[Study]:
    studies = [
        Study(path, folder.name, str(path.relative_to(source)))
        for folder in sorted(p for p in source.iterdir() if p.is_dir())
        for path in find_images(folder)
    ]
    if not studies:
        raise DataError(f"{source}: neither {INDEX} nor sub-folders with images")
    return studies


def check_labels(studies: Iterable[Study], labels: Sequence[str]) -> None:
    """Raise DataError unless the studies' labels are exactly the recipe's `labels`."""
    found = {study.label: study.path for study in studies}
    for label, path in found.items():
        if label not in labels:
            raise DataError(f"{path}: label {label} is not one of {list(labels)}")
    for label in labels:
        if label not in found:
            raise DataError(f"no image has the label {label}, which the recipe names")


def list_sha256(studies: Iterable[Study]) -> str:
    """Identity of a list of studies: what the files hold, with label, group and boxes.

    Independent of order and of where the set lies, so a copy elsewhere has the same value.
    """
    lines = sorted(
        json.dumps([hashlib.sha256(s.path.read_bytes()).hexdigest(), s.label, s.group, s.boxes])
        for s in studies
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def split(studies: Sequence[Study], fractions: SplitFractions) -> Split:
    """Divide by group, with each label's share as near to `fractions` as whole groups allow.

    First every part gets one group of every label, rarest label first; then each group, largest
    first, goes where its labels are furthest behind (Sainte-Laguë's quotient). The result depends
    on the studies and the seed, not on the order of the index.

    Raises:
        DataError: a label has too few groups to be in all three parts.
    """
    members: dict[str, list[Study]] = defaultdict(list)
    for study in sorted(studies, key=lambda s: str(s.path)):
        members[study.group].append(study)
    names = sorted(members)
    np.random.default_rng(fractions.seed).shuffle(names)
    counts = {name: Counter(s.label for s in members[name]) for name in names}
    total = Counter(s.label for s in studies)
    shares = (fractions.train, fractions.val, 1 - fractions.train - fractions.val)
    have: list[Counter[str]] = [Counter() for _ in PARTS]
    part_of: dict[str, int] = {}

    def assign(name: str, part: int) -> None:
        part_of[name] = part
        have[part].update(counts[name])

    groups_with = Counter(label for count in counts.values() for label in count)
    for label in sorted(total, key=lambda c: (groups_with[c], c)):
        for part in (1, 2, 0):  # the small parts first: train gets most of the rest anyway
            free = [n for n in names if n not in part_of and counts[n][label]]
            if have[part][label]:
                continue
            if not free:
                raise DataError(
                    f"label {label}: {groups_with[label]} group(s), {total[label]} image(s); "
                    "too few groups to be in train, val and test"
                )
            assign(min(free, key=lambda n: counts[n].total()), part)
    for name in sorted((n for n in names if n not in part_of), key=lambda n: -counts[n].total()):
        behind = [
            sum(
                n * (have[part][label] + n / 2) / (share * total[label])
                for label, n in counts[name].items()
            )
            for part, share in enumerate(shares)
        ]
        assign(name, int(np.argmin(behind)))
    parts: list[list[Study]] = [[] for _ in PARTS]
    for name in sorted(members):
        parts[part_of[name]] += members[name]
    return Split(*(tuple(part) for part in parts))


class Radiographs:
    """Preprocessed radiographs in memory, in the order of the studies.

    Args:
        studies: what to read.
        labels: the classes in the order of the logits.
        preprocess: the runtime's own preprocessing.
        progress: show a bar while decoding; default: where stderr is a terminal.

    Raises:
        DataError: a study's label is not one of `labels`.
        InputError: a file is not a radiograph.
    """

    def __init__(
        self,
        studies: Sequence[Study],
        labels: Sequence[str],
        preprocess: Preprocess,
        progress: bool | None = None,
    ) -> None:
        for study in studies:
            if study.label not in labels:
                raise DataError(f"{study.path}: label {study.label} is not one of {list(labels)}")
        self.studies = tuple(studies)
        self.labels: npt.NDArray[np.int64] = np.array([labels.index(s.label) for s in studies])
        size = preprocess.size
        self.images: Pixels = np.empty((len(studies), size, size), np.uint8)
        """uint8 (N, S, S)."""
        boxes: list[tuple[Box, ...]] = [()] * len(studies)

        def load(index: int) -> None:
            path = self.studies[index].path
            try:
                pixels = read_image(path).pixels
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            self.images[index], placement = preprocess.prepare(pixels)
            boxes[index] = boxes_in_square(self.studies[index].boxes, pixels.shape, placement, size)

        shown = sys.stderr.isatty() if progress is None else progress
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(load, range(len(studies)))
            for _ in tqdm(done, "reading", len(studies), unit="image", disable=not shown):
                pass
        self.boxes = tuple(boxes)
        """Per image: lesions as fractions of the square; none where all lie outside the field."""

    def cropped(self, side: int, seed: int) -> Radiographs:
        """The same studies as one fixed crop each; see `place_crop`."""
        rng = np.random.default_rng(seed)
        crops = copy.copy(self)
        crops.images = np.empty((len(self), side, side), np.uint8)
        boxes = []
        for index, image in enumerate(self.images):
            x, y = place_crop(image, self.boxes[index], side, rng)
            crops.images[index] = image[y : y + side, x : x + side]
            boxes.append(boxes_in_crop(self.boxes[index], (x, y), side, image.shape[0]))
        crops.boxes = tuple(boxes)
        return crops

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        """uint8 (1, S, S) and the class index."""
        return self.images[index][None], int(self.labels[index])


def boxes_in_square(
    boxes: Sequence[Box], shape: tuple[int, ...], placement: Placement, size: int
) -> tuple[Box, ...]:
    """Map boxes from fractions of the radiograph (H, W) to fractions of the network's square.

    They are clipped to the field; a box that lies outside of it is dropped.
    """
    height, width = shape
    fx0, fy0, fx1, fy1 = placement.field
    cx0, cy0, cx1, cy1 = placement.content
    mapped = []
    for x0, y0, x1, y1 in boxes:
        x = np.clip([x0 * width, x1 * width], fx0, fx1)
        y = np.clip([y0 * height, y1 * height], fy0, fy1)
        if x[0] < x[1] and y[0] < y[1]:
            x = (cx0 + (x - fx0) * (cx1 - cx0) / (fx1 - fx0)) / size
            y = (cy0 + (y - fy0) * (cy1 - cy0) / (fy1 - fy0)) / size
            mapped.append((float(x[0]), float(y[0]), float(x[1]), float(y[1])))
    return tuple(mapped)
