"""Parts to learn from, to choose by and to measure on, divided by whole groups or centres."""

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

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Studies to learn from, to choose by, and to measure on. No group is in two of them."""

    train: tuple[ImageRecord, ...]
    val: tuple[ImageRecord, ...]
    test: tuple[ImageRecord, ...]


def split(
    studies: Sequence[ImageRecord], settings: SplitSettings, fold: int | None = None
) -> Split:
    """Divide into train, val and test; the same whatever the order of the index.

    The test part is whole groups or, by centre, whole centres: those that `test_centres` names; or
    with `folds`, one of k parts of about equal size, so that each study is tested exactly once; or
    else a share of `1 - train - val`. What is left is divided by group into train and val in the
    ratio of their shares. Every part holds every label.

    Args:
        studies: the whole set.
        settings: shares, seed, and what stays whole.
        fold: which of `settings.folds` is the test part, from 0; None where there are no folds.

    Raises:
        DataError: a label is in too few groups or centres to be in each part, a study has no
            centre, no centre has that name, or a group is in a test centre and in another one.
        RecipeError: `fold` is not one of the recipe's folds.
    """
    _check_fold(settings.folds, fold)
    studies = sorted(studies, key=lambda s: str(s.path))
    shares = (settings.train, settings.val, 1 - settings.train - settings.val)
    by_centre = settings.by == "centre"
    if by_centre:
        _check_centres(studies, settings.test_centres)
    elif fold is None:
        return Split(*_divide(studies, "group", shares, PARTS, settings.seed))
    if settings.test_centres:
        named = set(settings.test_centres)
        rest = tuple(s for s in studies if s.centre not in named)
        test = tuple(s for s in studies if s.centre in named)
    elif fold is None:
        rest, test = _divide(
            studies, "centre", (1 - shares[2], shares[2]), ("train with val", "test"), settings.seed
        )
    else:
        names = [f"fold {i}" for i in range(settings.folds)]
        equal = (1 / settings.folds,) * settings.folds
        folds = _divide(studies, settings.by, equal, names, settings.seed)
        rest = tuple(s for i, part in enumerate(folds) if i != fold for s in part)
        test = folds[fold]
    if by_centre:
        _check_test_centres(rest, test)
    train, val = _divide(rest, "group", shares[:2], PARTS[:2], settings.seed)
    return Split(train, val, tuple(sorted(test, key=lambda s: (s.group, str(s.path)))))


def _check_fold(folds: int, fold: int | None) -> None:
    if folds and (fold is None or not 0 <= fold < folds):
        got = "none" if fold is None else fold
        raise ConfigError(
            f"split.folds is {folds}: a fold from 0 to {folds - 1} is needed, got {got}"
        )
    if not folds and fold is not None:
        raise ConfigError(f"fold {fold} was asked for, but split.folds is 0")


def _check_centres(studies: Sequence[ImageRecord], named: Sequence[str]) -> None:
    for study in studies:
        if not study.centre:
            raise DataError(
                f"{study.path}: has no centre, which split.by=centre needs; fill the index's "
                "column centre, or split by group"
            )
    known = sorted({study.centre for study in studies})
    for name in named:
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise DataError(
                f"split.test_centres: no study has the centre {name}; did you mean {nearest}? "
                f"(centres: {', '.join(known)})"
            )


def _check_test_centres(rest: Sequence[ImageRecord], test: Sequence[ImageRecord]) -> None:
    """Refuse a group on both sides of the line, and a label on one side only."""
    elsewhere = {study.group: study for study in rest}
    for study in test:
        other = elsewhere.get(study.group)
        if other is not None:
            raise DataError(
                f"group {study.group} is in the test centre {study.centre} ({study.path}) and in "
                f"{other.centre} ({other.path}); correct the index's column group, or test both"
            )
    tested = {study.label for study in test}
    learned = {study.label for study in rest}
    for label in sorted(tested ^ learned):
        where = "outside the test centres" if label in tested else "in the test centres"
        raise DataError(f"label {label}: no image {where}, so it cannot be learned and measured")


def _divide(
    studies: Sequence[ImageRecord],
    unit: Literal["group", "centre"],
    shares: Sequence[float],
    parts: Sequence[str],
    seed: int,
) -> list[tuple[ImageRecord, ...]]:
    """Divide whole groups or centres, with each label's share as near to `shares` as they allow.

    First every part gets one unit of every label, rarest label first; then each unit, largest
    first, goes where its labels are furthest behind (Sainte-Laguë's quotient).
    """
    members: dict[str, list[ImageRecord]] = defaultdict(list)
    for study in sorted(studies, key=lambda s: str(s.path)):
        members[getattr(study, unit)].append(study)
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    counts = {name: Counter(s.label for s in members[name]) for name in names}
    total = Counter(s.label for s in studies)
    have: list[Counter[str]] = [Counter() for _ in parts]
    part_of: dict[str, int] = {}

    def assign(name: str, part: int) -> None:
        part_of[name] = part
        have[part].update(counts[name])

    units_with = Counter(label for count in counts.values() for label in count)
    # The small parts first: the largest gets most of the rest anyway. Rounded, because the share
    # that two others leave is off by a few ulps.
    by_size = sorted(range(len(parts)), key=lambda part: round(shares[part], 9))
    for label in sorted(total, key=lambda c: (units_with[c], c)):
        for part in by_size:
            free = [n for n in names if n not in part_of and counts[n][label]]
            if have[part][label]:
                continue
            if not free:
                raise DataError(
                    f"label {label}: {units_with[label]} {unit}(s), {total[label]} image(s); "
                    f"too few {unit}s to be in {', '.join(parts[:-1])} and {parts[-1]}"
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
    divided: list[list[ImageRecord]] = [[] for _ in parts]
    for name in sorted(members):
        divided[part_of[name]] += members[name]
    return [tuple(part) for part in divided]


def split_in_half(
    studies: Sequence[ImageRecord], parts: tuple[str, str], seed: int
) -> list[tuple[ImageRecord, ...]]:
    """Divide into two equal parts by group, each with every label.

    Args:
        studies: what to divide.
        parts: names of the two, for the message.
        seed: of the division.

    Raises:
        DataError: a label is in one group only.
    """
    return _divide(studies, "group", (0.5, 0.5), parts, seed)
