"""Cleaning of a data set: what is no radiograph, what is there twice, what contradicts itself.

No image is touched or copied. The result is an index of what stays, a list of what was removed and
why, and a sheet to judge it by.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.index import (
    INDEX,
    ImageRecord,
    read_index,
    write_index,
)
from orthoedge.training.data_quality.acceptance import Flaw, Limits, examine
from orthoedge.training.data_quality.cleaning_report import (
    CONTRADICTS,
    CleaningReport,
    Removed,
    write_report,
)
from orthoedge.training.data_quality.duplicates import (
    Pixels,
    alike,
    looks,
    stem_key,
)


@dataclass(frozen=True)
class _Seen:
    """What one reading of a file tells."""

    digest: str
    """SHA-256 of its bytes."""
    looks: tuple[Pixels, Pixels] | None
    """Fingerprints of the file and of the square that training sees, where margins are cut; None
    with a flaw."""
    flaw: Flaw | None


def clean(source: Path, out: Path, jobs: int, progress: bool | None = None) -> CleaningReport:
    """Write an index without what training should not see, and say what was left out.

    Removed are files that break a limit, all but one of identical files, the augmented
    copies of an image that is there itself, and both sides of a
    contradiction: identical or nearly identical images with different labels. Near duplicates of
    one label stay. Whatever shows the same picture shares one group from then on, so no split can
    part it.

    Args:
        source: what `read_index` takes.
        out: folder for index.csv, removed.csv, cleaning.md, removed.png and shared.png.
        jobs: files read at a time.
        progress: show a bar while reading; default: where stderr is a terminal.

    Raises:
        DataError: the index cannot be read, `out` has one already, or nothing would be left.
    """
    if (out / INDEX).exists():
        raise DataError(f"{out}: already holds an index; remove it or give another --out")
    records = sorted(read_index(source), key=lambda s: str(s.path))
    shown = sys.stderr.isatty() if progress is None else progress
    with ThreadPoolExecutor(jobs) as pool:
        reading = pool.map(_see, (record.path for record in records))
        seen = list(tqdm(reading, "reading", len(records), unit="image", disable=not shown))
    report = judge(records, seen)
    write_report(out, report)
    if not report.kept:
        raise DataError(
            f"{source}: no image is left after cleaning; {out / 'removed.csv'} says why"
        )
    write_index(out / INDEX, report.kept)  # last: an index is there only when all the rest is
    return report


def _see(path: Path) -> _Seen:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _Seen("", None, Flaw("unreadable", error.strerror or str(error)))
    pixels, flaw = examine(data, Limits())
    prints = None if pixels is None else (looks(pixels), looks(STANDARD(pixels)))
    return _Seen(sha256(data), prints, flaw)


def judge(records: Sequence[ImageRecord], seen: Sequence[_Seen]) -> CleaningReport:
    """Decide about every record once; the records come in the order of their paths."""
    removed: dict[int, Removed] = {}
    groups = _Groups(record.patient_id for record in records)

    def remove(index: int, reason: str, detail: str, of: int | None = None) -> None:
        beside = None if of is None else records[of]
        removed.setdefault(index, Removed(records[index], reason, detail, beside))
        if beside is not None:
            groups.join(records[index].patient_id, beside.patient_id)

    def open_to(index: int) -> bool:
        """What contradicts itself is still held against the rest: a copy of it goes with it."""
        return index not in removed or removed[index].reason == CONTRADICTS

    def left(key: Iterable[object]) -> list[list[int]]:
        """Indices of what is left, or contradicts itself, by equal keys."""
        together: dict[object, list[int]] = defaultdict(list)
        for index, value in enumerate(key):
            if open_to(index):
                together[value].append(index)
        return [members for members in together.values() if len(members) > 1]

    for index, one in enumerate(seen):
        if one.flaw is not None:
            remove(index, one.flaw.reason, one.flaw.detail)
    for same in left(one.digest for one in seen):
        if len({records[i].label for i in same}) > 1:
            for i in same:
                other = next(j for j in same if records[j].label != records[i].label)
                remove(i, CONTRADICTS, f"same bytes, labelled {records[other].label}", other)
            continue
        best = min(same, key=lambda i: _preference(records[i]))
        for i in same:
            if i != best:
                remove(i, "identical file", "same bytes", best)
    for same in left((record.source, record.label, stem_key(record.path)) for record in records):
        copies = [i for i in same if _is_copy(records[i])]
        originals = [i for i in same if not _is_copy(records[i])]
        for i in copies:
            if not originals:  # by its name alone nothing is removed, but not parted either
                groups.join(records[i].patient_id, records[copies[0]].patient_id)
            else:
                near = [j for j in originals if records[j].path.parent == records[i].path.parent]
                remove(i, "augmented copy", "by its name", (near or originals)[0])
    rest = [i for i in range(len(records)) if open_to(i) and seen[i].looks is not None]
    prints = [seen[i].looks or () for i in rest]
    found = {pair for kind in zip(*prints, strict=True) for pair in alike(kind)}
    pairs = [(rest[a], rest[b]) for a, b in sorted(found)]
    for a, b in pairs:
        if records[a].label != records[b].label:
            for i, other in ((a, b), (b, a)):
                remove(i, CONTRADICTS, f"looks alike, labelled {records[other].label}", other)
    shared = [(a, b) for a, b in pairs if a not in removed and b not in removed]
    for a, b in shared:
        groups.join(records[a].patient_id, records[b].patient_id)
    kept = {i: replace(s, patient_id=groups.name(s.patient_id)) for i, s in enumerate(records)}
    return CleaningReport(
        kept=tuple(record for i, record in kept.items() if i not in removed),
        removed=tuple(removed[i] for i in sorted(removed)),
        shared=tuple((kept[a], kept[b]) for a, b in shared),
    )


def _is_copy(record: ImageRecord) -> bool:
    return stem_key(record.path) != record.path.stem.lower()


def _preference(record: ImageRecord) -> tuple[bool, bool, int, str]:
    """The record to keep of several: an original, with its lesion marked, of the shortest name."""
    unmarked = not record.boxes and record.mask is None
    return _is_copy(record), unmarked, len(record.path.stem), str(record.path)


class _Groups:
    """Groups that become one; their name is the first of their names in the alphabet."""

    def __init__(self, names: Iterable[str]) -> None:
        self.first = {name: name for name in names}

    def name(self, name: str) -> str:
        while self.first[name] != name:
            name = self.first[name]
        return name

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.name(one), self.name(other)))
        self.first[high] = low
