"""Splits: whole groups, whole centres, folds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import Split, split
from orthoedge.training.recipe import SplitSettings


def _settings(by="group", seed=0, test_centres=(), folds=0) -> SplitSettings:
    return SplitSettings(
        train=0.7, val=0.15, seed=seed, by=by, test_centres=test_centres, folds=folds
    )


def _groups(part: tuple[ImageRecord, ...]) -> set[str]:
    return {study.group for study in part}


def _parts(parts: Split) -> tuple[tuple[ImageRecord, ...], ...]:
    return parts.train, parts.val, parts.test


def _by_path(studies) -> list[ImageRecord]:
    return sorted(studies, key=lambda s: str(s.path))


def _check(parts: Split, studies: list[ImageRecord]) -> None:
    train, val, test = map(_groups, _parts(parts))
    assert not train & val
    assert not train & test
    assert not val & test
    assert _by_path(parts.train + parts.val + parts.test) == _by_path(studies)
    for part in _parts(parts):
        assert {s.label for s in part} == {s.label for s in studies}


# Rows of (group, label): groups of several images and labels.
_SETS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("abc")), min_size=30, max_size=150
).filter(lambda rows: len({g for g, _ in rows}) > 12)


def _studies(rows) -> list[ImageRecord]:
    """Seven centres; all of a group in one."""
    return [
        ImageRecord(Path(f"{i}.png"), label, str(g), centre=f"c{g % 7}")
        for i, (g, label) in enumerate(rows)
    ]


@given(_SETS, st.integers(0, 5), st.sampled_from(["group", "centre"]))
def test_no_group_is_in_two_parts_and_no_study_is_lost(rows, seed, by):
    studies = _studies(rows)
    settings = _settings(by, seed)
    try:
        parts = split(studies, settings)
    except DataError as error:
        if f"too few {by}s" not in str(error) and "too few groups" not in str(error):
            raise
        return
    _check(parts, studies)
    if by == "centre":
        assert not {s.centre for s in parts.test} & {s.centre for s in parts.train + parts.val}
    assert split(studies[::-1], settings) == parts  # the order of the index does not matter


@given(_SETS, st.integers(0, 5), st.integers(2, 5), st.sampled_from(["group", "centre"]))
def test_each_study_is_tested_in_exactly_one_fold(rows, seed, folds, by):
    studies = _studies(rows)
    settings = _settings(by, seed, folds=folds)
    try:
        every = [split(studies, settings, fold) for fold in range(folds)]
    except DataError as error:
        if "too few" not in str(error):
            raise
        return
    for parts in every:
        _check(parts, studies)
    assert _by_path(s for parts in every for s in parts.test) == _by_path(studies)
    assert split(studies[::-1], settings, 1) == every[1]


def test_labels_are_divided_seventy_fifteen_fifteen():
    studies = [
        ImageRecord(Path(f"{label}{i}.png"), label, f"{label}{i // 2}")
        for label, count in (("a", 400), ("b", 100))
        for i in range(count)
    ]
    parts = split(studies, _settings())
    for label, count in (("a", 400), ("b", 100)):
        shares = [Counter(s.label for s in p)[label] / count for p in (parts.train, parts.val)]
        assert shares == pytest.approx([0.7, 0.15], abs=2 / count)  # whole groups of two
    assert _groups(split(studies, _settings(seed=1)).test) != _groups(parts.test)


def test_folds_are_stratified_and_validation_keeps_its_ratio_to_training():
    studies = [
        ImageRecord(Path(f"{label}{i}.png"), label, f"{label}{i // 2}")
        for label, count in (("a", 400), ("b", 100))
        for i in range(count)
    ]
    for fold in range(5):
        parts = split(studies, _settings(folds=5), fold)
        for label, count in (("a", 400), ("b", 100)):
            shares = [Counter(s.label for s in part)[label] / count for part in _parts(parts)]
            # 0.8 in the ratio of 0.7 to 0.15; whole groups of two
            assert shares == pytest.approx([0.8 * 70 / 85, 0.8 * 15 / 85, 0.2], abs=2 / count)


def test_a_class_that_cannot_be_in_every_part_is_refused():
    studies = [ImageRecord(Path(f"{i}.png"), "a", str(i), centre=str(i % 5)) for i in range(20)]
    studies += [
        ImageRecord(Path(f"b{i}.png"), "b", str(100 + i % 2), centre=str(i % 2)) for i in range(10)
    ]
    with pytest.raises(DataError, match=r"label b: 2 group\(s\), 10 image\(s\); .* val and test"):
        split(studies, _settings())
    with pytest.raises(DataError, match="too few groups to be in fold 0, fold 1 and fold 2"):
        split(studies, _settings(folds=3), 0)
    with pytest.raises(DataError, match="too few centres to be in fold 0, fold 1 and fold 2"):
        split(studies, _settings("centre", folds=3), 0)


def test_a_fold_is_asked_for_where_there_are_folds_and_nowhere_else():
    studies = [ImageRecord(Path(f"{i}.png"), "a", str(i)) for i in range(20)]
    with pytest.raises(ConfigError, match=r"split\.folds is 4: a fold from 0 to 3 .* got none"):
        split(studies, _settings(folds=4))
    with pytest.raises(ConfigError, match="from 0 to 3 is needed, got 4"):
        split(studies, _settings(folds=4), 4)
    with pytest.raises(ConfigError, match=r"fold 0 was asked for, but split\.folds is 0"):
        split(studies, _settings(), 0)


CENTRES = [
    ImageRecord(
        Path(f"{i}.png"), "ab"[i // 5 % 2], str(i), centre=("Lima", "Oslo", "Oslo", "Rome")[i % 4]
    )
    for i in range(120)
]


def test_the_named_centres_are_the_test_part():
    parts = split(CENTRES, _settings("centre", test_centres=("Rome",)))
    assert _by_path(parts.test) == _by_path(s for s in CENTRES if s.centre == "Rome")
    _check(parts, CENTRES)
    assert len(parts.val) == pytest.approx(90 * 15 / 85, abs=2)  # one image per label
    both = split(CENTRES, _settings("centre", test_centres=("Rome", "Lima")))
    assert {s.centre for s in both.test} == {"Lima", "Rome"}


def test_the_seed_chooses_a_centre_where_none_is_named_and_folds_can_leave_one_out_each():
    assert {s.centre for s in split(CENTRES, _settings("centre")).test} < {"Lima", "Rome"}
    left_out = [
        {s.centre for s in split(CENTRES, _settings("centre", folds=3), fold).test}
        for fold in range(3)
    ]
    assert sorted(map(list, left_out)) == [["Lima"], ["Oslo"], ["Rome"]]


def test_what_a_split_by_centre_cannot_use_is_named():
    named = _settings("centre", test_centres=("Rme",))
    with pytest.raises(DataError, match=r"no study has the centre Rme; did you mean Rome\?"):
        split(CENTRES, named)
    bare = replace(CENTRES[7], centre="")
    with pytest.raises(DataError, match=r"7\.png: has no centre"):
        split([*CENTRES[:7], bare, *CENTRES[8:]], _settings("centre"))
    rome = _settings("centre", test_centres=("Rome",))
    moved = replace(CENTRES[0], group=CENTRES[3].group)
    with pytest.raises(DataError, match=r"group 3 is in the test centre Rome .* in Lima"):
        split([moved, *CENTRES[1:]], rome)
    split([moved, *CENTRES[1:]], _settings("centre", test_centres=("Rome", "Lima")))
    lonely = replace(CENTRES[3], label="c")
    with pytest.raises(DataError, match="label c: no image outside the test centres"):
        split([*CENTRES[:3], lonely, *CENTRES[4:]], rome)
    with pytest.raises(DataError, match="label c: no image in the test centres"):
        split([replace(CENTRES[0], label="c"), *CENTRES[1:]], rome)
