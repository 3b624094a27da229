"""Clean a data set: remove rejected files, duplicates and images with contradicting labels.

No image is changed or copied. The result is an index of the images that stay, a list of the removed
ones with reasons, and contact sheets to review them.
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
from orthoedge.training.data.index import INDEX, ImageRecord, read_index, write_index
from orthoedge.training.data_quality import duplicates
from orthoedge.training.data_quality.acceptance import AcceptanceLimits, Rejection, check_radiograph
from orthoedge.training.data_quality.cleaning_report import CONTRADICTS, CleaningReport, Removed


@dataclass(frozen=True)
class _CheckedFile:
    """One file, read once."""

    digest: str
    """SHA-256 of its bytes."""
    fingerprints: tuple[duplicates.Pixels, duplicates.Pixels] | None
    """Of the radiograph and of the preprocessed image, whose margins are cut; None if rejected."""
    rejection: Rejection | None


def clean(source: Path, out: Path, jobs: int, progress: bool | None = None) -> CleaningReport:
    """Write an index of the images that are fit for training, and report the removed ones.

    Removed are rejected files, all but one of identical files, augmented copies whose original is
    in the set, and both sides of a contradiction: identical or nearly identical images with
    different labels. Near duplicates of one label stay. Images of the same picture get one
    patient_id, so that no split separates them.

    Args:
        source: as in `read_index`.
        out: folder for index.csv, removed.csv, cleaning.md, removed.png and shared.png.
        jobs: files read at a time.
        progress: show a bar while reading; default: where stderr is a terminal.

    Raises:
        DataError: the index cannot be read, `out` has one already, or nothing would be left.
    """
    if (out / INDEX).exists():
        raise DataError(f"{out}: already holds an index; remove it or give another --out")
    records = sorted(read_index(source), key=lambda s: str(s.path))
    hidden = not (sys.stderr.isatty() if progress is None else progress)
    with ThreadPoolExecutor(jobs) as pool:
        reading = pool.map(_check_file, (record.path for record in records))
        files = list(tqdm(reading, "reading", len(records), unit="image", disable=hidden))
    report = review(records, files)
    report.write(out)
    if not report.kept:
        listed = out / "removed.csv"
        raise DataError(f"{source}: no image is left after cleaning; {listed} says why")
    write_index(out / INDEX, report.kept)  # last: an index is there only when all the rest is
    return report


def _check_file(path: Path) -> _CheckedFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _CheckedFile("", None, Rejection("unreadable", error.strerror or str(error)))
    pixels, rejection = check_radiograph(data, AcceptanceLimits())
    prints = None
    if pixels is not None:
        prints = duplicates.fingerprint(pixels), duplicates.fingerprint(STANDARD(pixels))
    return _CheckedFile(sha256(data), prints, rejection)


def review(records: Sequence[ImageRecord], files: Sequence[_CheckedFile]) -> CleaningReport:
    """Decide for every image whether it stays; the images come in the order of their paths."""
    removed: dict[int, Removed] = {}
    patients = _MergedIds()

    def remove(index: int, reason: str, detail: str, of: int | None = None) -> None:
        other = None if of is None else records[of]
        removed.setdefault(index, Removed(records[index], reason, detail, other))
        if other is not None:
            patients.merge(records[index].patient_id, other.patient_id)

    def is_compared(index: int) -> bool:
        """Contradicting images are still compared, so that their copies are removed with them."""
        return index not in removed or removed[index].reason == CONTRADICTS

    def sharing(key: Iterable[object]) -> list[list[int]]:
        """Groups of two or more compared images with equal keys, as indices."""
        by_key: dict[object, list[int]] = defaultdict(list)
        for index, value in enumerate(key):
            if is_compared(index):
                by_key[value].append(index)
        return [members for members in by_key.values() if len(members) > 1]

    for index, file in enumerate(files):
        if file.rejection is not None:
            remove(index, file.rejection.reason, file.rejection.detail)
    for same in sharing(file.digest for file in files):
        if len({records[i].label for i in same}) > 1:
            for i in same:
                other = next(j for j in same if records[j].label != records[i].label)
                remove(i, CONTRADICTS, f"same bytes, labelled {records[other].label}", other)
            continue
        best = min(same, key=lambda i: _preference(records[i]))
        for i in same:
            if i != best:
                remove(i, "identical file", "same bytes", best)
    for same in sharing((r.source, r.label, duplicates.stem_key(r.path)) for r in records):
        originals = [i for i in same if not _is_copy(records[i])]
        for i in same:
            if not originals:  # a name alone removes nothing
                patients.merge(records[i].patient_id, records[same[0]].patient_id)
            elif i not in originals:
                near = [j for j in originals if records[j].path.parent == records[i].path.parent]
                remove(i, "augmented copy", "by its name", (near or originals)[0])
    rest = [i for i in range(len(records)) if is_compared(i) and files[i].fingerprints is not None]
    prints = [files[i].fingerprints or () for i in rest]
    kinds = map(duplicates.find_duplicates, zip(*prints, strict=True))
    pairs = [(rest[a], rest[b]) for a, b in sorted({pair for kind in kinds for pair in kind})]
    for a, b in pairs:
        if records[a].label != records[b].label:
            for i, other in ((a, b), (b, a)):
                remove(i, CONTRADICTS, f"same picture, labelled {records[other].label}", other)
    shared = [(a, b) for a, b in pairs if a not in removed and b not in removed]
    for a, b in shared:
        patients.merge(records[a].patient_id, records[b].patient_id)
    kept = {i: replace(s, patient_id=patients.name(s.patient_id)) for i, s in enumerate(records)}
    return CleaningReport(
        kept=tuple(record for i, record in kept.items() if i not in removed),
        removed=tuple(removed[i] for i in sorted(removed)),
        shared=tuple((kept[a], kept[b]) for a, b in shared),
    )


def _is_copy(record: ImageRecord) -> bool:
    return duplicates.stem_key(record.path) != record.path.stem.lower()


def _preference(record: ImageRecord) -> tuple[bool, bool, int, str]:
    """Sort key of the copy to keep: an original, with a marked lesion, with the shortest name."""
    unmarked = not record.boxes and record.mask is None
    return _is_copy(record), unmarked, len(record.path.stem), str(record.path)


class _MergedIds(dict[str, str]):
    """Patient ids that were merged; the alphabetically first one names them all."""

    def name(self, name: str) -> str:
        while name in self:
            name = self[name]
        return name

    def merge(self, left: str, right: str) -> None:
        low, high = sorted((self.name(left), self.name(right)))
        if low != high:
            self[high] = low
