"""Leaks between splits: shared patients, files or pictures that inflate a test score."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import SPLITS, Splits, Unit, unit_of
from orthoedge.training.data_quality import duplicates

_REMEDY = "run `orthoedge data clean SRC --out DIR` and train on what it leaves"


def check_leaks(
    splits: Splits,
    data: Sequence[RadiographDataset] | None = None,
    by: Unit = "patient",
) -> None:
    """Refuse splits that share a radiograph or a patient.

    No two splits may share a patient, a file, a file's content (SHA-256), copies by name (`a.png`
    and `a-rotated1.png` of one source and label, wherever they lie) or one picture, also mirrored
    or turned by quarters. Inside one split all of these are harmless.

    Args:
        splits: train, val and test.
        data: the three splits if they were read before; None: the files are read here.
        by: the recipe's `split.by`; no site or source of the test split may then be elsewhere.

    Raises:
        DataError: naming two files, their splits, what they share, and the remedy.
        InputError: a file is not a radiograph.
    """
    records = [record for name in SPLITS for record in getattr(splits, name)]
    split_of = [name for name in SPLITS for _ in getattr(splits, name)]

    def refuse(pairs: Iterable[tuple[int, int]], what: str, remedy: str) -> None:
        across = [(i, j) for i, j in pairs if split_of[i] != split_of[j]]
        if across:
            i, j = across[0]
            more = f" ({len(across)} such pairs)" if len(across) > 1 else ""
            raise DataError(
                f"{records[i].path} ({split_of[i]}) and {records[j].path} ({split_of[j]}) "
                f"{what}{more}: {remedy}"
            )

    refuse(_equal(s.patient_id for s in records), "are of one patient", "split by patient")
    if by != "patient":
        tested = {unit_of(s, by) for s in splits.test}
        units = (unit_of(r, by) for r in records)
        sites = (unit if unit in tested else i for i, unit in enumerate(units))
        refuse(_equal(sites), f"are of one {by}", f"split by {by}")
    refuse(_equal(s.path.resolve() for s in records), "are the same file", _REMEDY)
    keys = [(s.source, s.label, duplicates.stem_key(s.path)) for s in records]
    copies = [s.path.stem.lower() != key for s, (*_, key) in zip(records, keys, strict=True)]
    refuse(_equal(keys, copies), "are copies of one image by their names", _REMEDY)
    if data is None:
        digests = duplicates.file_digests([s.path for s in records])
    else:
        digests = [digest for dataset in data for digest in dataset.digests]
    refuse(_equal(digests), "hold the same bytes", _REMEDY)
    prints = _map(_read_fingerprint, records) if data is None else _fingerprints(data)
    refuse(duplicates.find_duplicates(prints), "show the same picture", _REMEDY)


def seen_before(data: RadiographDataset, known: Sequence[RadiographDataset]) -> list[ImageRecord]:
    """Return the images of `data` that `known` holds too: the same bytes, or the same picture.

    Args:
        data: whole images, not crops.
        known: with the same preprocessing.
    """
    same = {digest for dataset in known for digest in dataset.digests}
    seen = {i for i, digest in enumerate(data.digests) if digest in same}
    pairs = duplicates.find_duplicates(_fingerprints(known), _fingerprints([data]))
    seen.update(j for _, j in pairs)
    return [data.records[i] for i in sorted(seen)]


def _equal(
    keys: Iterable[Hashable], copies: Sequence[bool] | None = None
) -> Iterable[tuple[int, int]]:
    """Pairs (i, j), i < j, with equal keys; with `copies`, only where one of the two is a copy."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        members[key].append(index)
    for indices in members.values():
        first = next((i for i in indices if copies is None or copies[i]), None)
        if first is not None:
            yield from ((min(first, j), max(first, j)) for j in indices if j != first)


def _map(work: Callable[[Any], duplicates.Pixels], items: Iterable[Any]) -> list[duplicates.Pixels]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


def _fingerprints(datasets: Sequence[RadiographDataset]) -> list[duplicates.Pixels]:
    return _map(duplicates.fingerprint, (image for data in datasets for image in data.images))


def _read_fingerprint(record: ImageRecord) -> duplicates.Pixels:
    try:
        return duplicates.fingerprint(STANDARD(read_image(record.path).pixels))
    except InputError as error:
        raise InputError(f"{record.path}: {error}") from error
