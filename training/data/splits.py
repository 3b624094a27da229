"""Train, validation and test splits that keep each patient, or each site, whole."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.recipe import SplitSettings

SPLITS = ("train", "val", "test")
Unit = Literal["patient", "site", "source"]
"""What stays whole in a split."""


@dataclass(frozen=True)
class Splits:
    """Images to learn from, to choose by and to measure on; no patient is in two of them."""

    train: tuple[ImageRecord, ...]
    val: tuple[ImageRecord, ...]
    test: tuple[ImageRecord, ...]


def split_records(
    records: Sequence[ImageRecord], settings: SplitSettings, fold: int | None = None
) -> Splits:
    """Divide into train, val and test; the order of the index does not matter.

    The test split holds whole patients or, by site, whole sites: those that `test_sites` names; or
    with `folds`, one of k folds of about equal size, so that each image is tested exactly once; or
    else a share of `1 - train - val`. The rest is divided by patient into train and val in the
    ratio of their shares. Every split holds every label; only test sites may lack some.

    Args:
        records: the whole set.
        settings: shares, seed, and what stays whole.
        fold: which of `settings.folds` is the test split, from 0; None where there are no folds.

    Raises:
        DataError: a label has too few patients or sites for every split, an image has no site, a
            site of `test_sites` does not exist, or a patient is in a test site and in another one.
        ConfigError: `fold` is not one of the recipe's folds.
    """
    _check_fold(settings.folds, fold)
    records = sorted(records, key=lambda r: str(r.path))
    shares = (settings.train, settings.val, 1 - settings.train - settings.val)
    by = settings.by
    if by != "patient":
        _check_sites(records, by, settings.test_sites)
    elif fold is None:
        return Splits(*_divide(records, "patient", shares, SPLITS, settings.seed))
    if settings.test_sites:
        named = set(settings.test_sites)
        rest = tuple(r for r in records if unit_of(r, by) not in named)
        test = tuple(r for r in records if unit_of(r, by) in named)
    elif fold is None:
        names: Sequence[str] = ("train with val", "test")
        rest, test = _divide(records, by, (1 - shares[2], shares[2]), names, settings.seed)
    else:
        names = [f"fold {i}" for i in range(settings.folds)]
        equal = (1 / settings.folds,) * settings.folds
        folds = _divide(records, settings.by, equal, names, settings.seed)
        rest = tuple(r for i, members in enumerate(folds) if i != fold for r in members)
        test = folds[fold]
    if by != "patient":
        _check_test_sites(rest, test, by)
    train, val = _divide(rest, "patient", shares[:2], SPLITS[:2], settings.seed)
    return Splits(train, val, tuple(sorted(test, key=lambda r: (r.patient_id, str(r.path)))))


def unit_of(record: ImageRecord, by: Unit) -> str:
    """Name of the patient, site or source of an image; a source is a site where none is named."""
    if by == "patient":
        return record.patient_id
    return (record.site if by == "site" else "") or record.source


def _check_fold(folds: int, fold: int | None) -> None:
    if folds and (fold is None or not 0 <= fold < folds):
        got = f"got {'none' if fold is None else fold}"
        raise ConfigError(f"split.folds is {folds}: a fold from 0 to {folds - 1} is needed, {got}")
    if not folds and fold is not None:
        raise ConfigError(f"got fold {fold}, but split.folds is 0")


def _check_sites(records: Sequence[ImageRecord], by: Unit, named: Sequence[str]) -> None:
    for record in records:
        if not unit_of(record, by):
            remedy = f"fill the index's column {by}, or split by patient"
            raise DataError(f"{record.path}: has no {by}, which split.by={by} needs; {remedy}")
    known = sorted({unit_of(record, by) for record in records})
    for name in named:
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest}? ({by}s: {', '.join(known)})"
            raise DataError(f"split.test_sites: no image has the {by} {name}; {hint}")


def _check_test_sites(rest: Sequence[ImageRecord], test: Sequence[ImageRecord], by: Unit) -> None:
    """Refuse a patient both inside and outside the test sites, and a label inside alone."""
    elsewhere = {record.patient_id: record for record in rest}
    for record in test:
        other = elsewhere.get(record.patient_id)
        if other is not None:
            raise DataError(
                f"patient {record.patient_id} is in the test {by} {unit_of(record, by)} "
                f"({record.path}) and in {unit_of(other, by)} ({other.path}); correct the index's "
                f"column patient_id, or test both {by}s"
            )
    learned = {record.label for record in rest}
    for label in sorted({record.label for record in test} - learned):
        raise DataError(f"label {label}: no image outside the test {by}s, so it cannot be learned")


def _divide(
    records: Sequence[ImageRecord],
    unit: Unit,
    shares: Sequence[float],
    names: Sequence[str],
    seed: int,
) -> list[tuple[ImageRecord, ...]]:
    """Divide whole patients or sites, with each label's share as close to `shares` as they allow.

    First every split gets one unit of every label, rarest label first; then each unit, largest
    first, goes where its labels are furthest behind (Sainte-Laguë's quotient).
    """
    members: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda r: str(r.path)):
        members[unit_of(record, unit)].append(record)
    units = sorted(members)
    np.random.default_rng(seed).shuffle(units)
    counts = {name: Counter(r.label for r in members[name]) for name in units}
    total = Counter(r.label for r in records)
    assigned: list[Counter[str]] = [Counter() for _ in names]
    split_of: dict[str, int] = {}

    def assign(name: str, split: int) -> None:
        split_of[name] = split
        assigned[split].update(counts[name])

    units_with = Counter(label for count in counts.values() for label in count)
    # The small splits first: the largest gets most of the rest anyway. Rounded, because the share
    # that two others leave is off by a few ulps.
    by_size = sorted(range(len(names)), key=lambda split: round(shares[split], 9))
    for label in sorted(total, key=lambda c: (units_with[c], c)):
        for split in by_size:
            if assigned[split][label]:
                continue
            free = [n for n in units if n not in split_of and counts[n][label]]
            if not free:
                raise DataError(
                    f"label {label}: {units_with[label]} {unit}(s), {total[label]} image(s); "
                    f"too few {unit}s to be in {', '.join(names[:-1])} and {names[-1]}"
                )
            assign(min(free, key=lambda n: counts[n].total()), split)
    for name in sorted((n for n in units if n not in split_of), key=lambda n: -counts[n].total()):
        behind = [
            sum(
                n * (assigned[split][label] + n / 2) / (share * total[label])
                for label, n in counts[name].items()
            )
            for split, share in enumerate(shares)
        ]
        assign(name, int(np.argmin(behind)))
    ordered = [(split_of[name], record) for name in sorted(members) for record in members[name]]
    return [tuple(r for own, r in ordered if own == split) for split in range(len(names))]


def split_in_half(
    records: Sequence[ImageRecord], names: tuple[str, str], seed: int
) -> list[tuple[ImageRecord, ...]]:
    """Divide into two equal splits by patient, each with every label.

    Calibration gets images of its own in this way: thresholds from images that chose the best epoch
    or candidate would seem better than they are.

    Args:
        records: what to divide.
        names: of the two splits, for the message.
        seed: of the division.

    Raises:
        DataError: a label has one patient only.
    """
    return _divide(records, "patient", (0.5, 0.5), names, seed)
