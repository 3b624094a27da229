"""Common parts of the importers: the imported records, skipped files and notes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orthoedge.runtime.errors import DataError
from orthoedge.runtime.image_io.folder import find_images
from orthoedge.training.data.index import ImageRecord

NON_AFFECTED = "non-affected"
FRACTURE = "fracture"
BENIGN = "tumor-benign"
MALIGNANT = "tumor-malignant"
ABNORMAL = "abnormal"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Skipped:
    """A file, folder or row that was not imported."""

    path: Path
    """The file or folder; for a row, the image that it names."""
    reason: str
    """`what: detail`, or `what` alone; the same `what` for the same kind of fault."""


@dataclass(frozen=True)
class Imported:
    """A published data set; its images stay in their folder."""

    records: tuple[ImageRecord, ...]
    """In the publisher's order."""
    skipped: tuple[Skipped, ...]
    """In the order of reading."""
    notes: tuple[str, ...]
    """Origin of patient ids and boxes, one line each."""


def gather(
    items: Iterable[ImageRecord | Skipped], source: Path, notes: tuple[str, ...], progress: Progress
) -> Imported:
    """Separate imported from skipped items; an image listed twice is imported once or not at all.

    Args:
        items: one item per image, row or folder.
        source: the data set, for the error.
        notes: as in `Imported`.
        progress: called with the number of items done.

    Raises:
        DataError: nothing is left.
    """
    skipped: list[Skipped] = []
    of_path: dict[Path, list[ImageRecord]] = defaultdict(list)
    for done, item in enumerate(items, start=1):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            of_path[item.path].append(item)
        progress(done)
    records = []
    for path, same in of_path.items():
        labels = sorted({record.label for record in same})
        if str(path).encode(errors="replace").decode() != str(path):
            skipped += [Skipped(path, "unreadable name: not valid UTF-8")] * len(same)
            continue
        if len(labels) > 1:
            skipped.append(Skipped(path, f"listed with several labels: {', '.join(labels)}"))
            continue
        # One row per box is a common export.
        boxes = tuple(dict.fromkeys(box for record in same for box in record.boxes))
        records.append(replace(same[0], boxes=boxes))
        skipped += [Skipped(path, "listed again; its boxes were added") for _ in same[1:]]
    if not records:
        why = f", the first one, {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{source}: no image is left; {len(skipped)} skipped{why}")
    return Imported(tuple(records), tuple(skipped), notes)


def find_root(source: Path, marker: str, name: str) -> Path:
    """Find the folder with `marker`: `source`, or one up to two levels below, as archives unpack.

    Raises:
        DataError: there is none, or more than one.
    """
    if not source.is_dir():
        raise DataError(f"{source}: not a folder; expected the folder of {name}, with {marker}")
    inner = sorted(p.parent for depth in ("*", "*/*") for p in source.glob(f"{depth}/{marker}"))
    if (source / marker).exists():
        return source
    if len(inner) == 1:
        return inner[0]
    if inner:
        raise DataError(f"{source}: {len(inner)} folders hold {marker}; give one: {inner[0]}?")
    raise DataError(f"no {marker} in {source}: is this {name}?")


def with_unlisted(
    items: Iterable[ImageRecord | Skipped], folders: Mapping[Path, str]
) -> Iterator[ImageRecord | Skipped]:
    """Yield the items, then the images below `folders` that none of them names.

    Args:
        items: of the rows of the set's tables.
        folders: each with the table that should list its images.
    """
    listed = set()
    for item in items:
        listed.add(item.path)
        yield item
    for folder, table in folders.items():
        for path in find_images(folder) if folder.is_dir() else ():
            if path not in listed:
                yield Skipped(path, f"not listed: there is no row for it in {table}")


def summary(imported: Imported) -> list[str]:
    """Lines of a table: images per label, site and body part, and skipped files per reason."""
    count, patients = len(imported.records), len({r.patient_id for r in imported.records})
    lines = [f"{count} images, {patients} patient ids; {len(imported.skipped)} skipped"]
    lines += [f"  {note}" for note in imported.notes]
    for column in ("label", "site", "body_part"):
        lines += _table(imported.records, column)
    reasons = Counter(skipped.reason.partition(":")[0] for skipped in imported.skipped)
    if reasons:
        lines += ["", f"{'skipped':<28} {'images':>8}"]
        lines += [f"{reason:<28} {count:>8}" for reason, count in reasons.most_common()]
    return lines


def _table(records: Sequence[ImageRecord], column: str) -> list[str]:
    """Count images, and images with boxes, per value; empty if no image has a value."""
    images = Counter(getattr(record, column) for record in records)
    boxed = Counter(getattr(record, column) for record in records if record.boxes)
    if not any(images):
        return []
    lines = ["", f"{column.replace('_', ' '):<28} {'images':>8} {'with boxes':>11}"]
    for value in sorted(images):
        lines.append(f"{value or '(none)':<28} {images[value]:>8} {boxed[value]:>11}")
    return lines
