"""Splits: whole patients, whole sites, folds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import Splits, split_records
from orthoedge.training.recipe import SplitSettings


def _settings(by="patient", seed=0, test_sites=(), folds=0) -> SplitSettings:
    return SplitSettings(train=0.7, val=0.15, seed=seed, by=by, test_sites=test_sites, folds=folds)


def _patients(part: tuple[ImageRecord, ...]) -> set[str]:
    return {record.patient_id for record in part}


def _tuples(splits: Splits) -> tuple[tuple[ImageRecord, ...], ...]:
    return splits.train, splits.val, splits.test


def _by_path(records) -> list[ImageRecord]:
    return sorted(records, key=lambda s: str(s.path))


def _check(splits: Splits, records: list[ImageRecord]) -> None:
    train, val, test = map(_patients, _tuples(splits))
    assert not train & val
    assert not train & test
    assert not val & test
    assert _by_path(splits.train + splits.val + splits.test) == _by_path(records)
    for part in _tuples(splits):
        assert {s.label for s in part} == {s.label for s in records}


# Rows of (patient, label): patients with several images and labels.
_SETS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("abc")), min_size=30, max_size=150
).filter(lambda rows: len({g for g, _ in rows}) > 12)


def _records(rows) -> list[ImageRecord]:
    """Seven sites; all images of a patient in one."""
    return [
        ImageRecord(Path(f"{i}.png"), label, str(g), site=f"c{g % 7}")
        for i, (g, label) in enumerate(rows)
    ]


@given(_SETS, st.integers(0, 5), st.sampled_from(["patient", "site"]))
def test_no_patient_is_in_two_splits_and_no_image_is_lost(rows, seed, by):
    records = _records(rows)
    settings = _settings(by, seed)
    try:
        splits = split_records(records, settings)
    except DataError as error:
        if f"too few {by}s" not in str(error) and "too few patients" not in str(error):
            raise
        return
    _check(splits, records)
    if by == "site":
        assert not {s.site for s in splits.test} & {s.site for s in splits.train + splits.val}
    # The order of the index does not matter.
    assert split_records(records[::-1], settings) == splits


@given(_SETS, st.integers(0, 5), st.integers(2, 5), st.sampled_from(["patient", "site"]))
def test_each_image_is_tested_in_exactly_one_fold(rows, seed, folds, by):
    records = _records(rows)
    settings = _settings(by, seed, folds=folds)
    try:
        every = [split_records(records, settings, fold) for fold in range(folds)]
    except DataError as error:
        if "too few" not in str(error):
            raise
        return
    for splits in every:
        _check(splits, records)
    assert _by_path(s for splits in every for s in splits.test) == _by_path(records)
    assert split_records(records[::-1], settings, 1) == every[1]


def test_labels_are_divided_seventy_fifteen_fifteen():
    records = [
        ImageRecord(Path(f"{label}{i}.png"), label, f"{label}{i // 2}")
        for label, count in (("a", 400), ("b", 100))
        for i in range(count)
    ]
    splits = split_records(records, _settings())
    for label, count in (("a", 400), ("b", 100)):
        shares = [Counter(s.label for s in p)[label] / count for p in (splits.train, splits.val)]
        assert shares == pytest.approx([0.7, 0.15], abs=2 / count)  # whole patients of two
    assert _patients(split_records(records, _settings(seed=1)).test) != _patients(splits.test)


def test_folds_are_stratified_and_validation_keeps_its_ratio_to_training():
    records = [
        ImageRecord(Path(f"{label}{i}.png"), label, f"{label}{i // 2}")
        for label, count in (("a", 400), ("b", 100))
        for i in range(count)
    ]
    for fold in range(5):
        splits = split_records(records, _settings(folds=5), fold)
        for label, count in (("a", 400), ("b", 100)):
            shares = [Counter(s.label for s in part)[label] / count for part in _tuples(splits)]
            # 0.8 in the ratio of 0.7 to 0.15; whole patients of two
            assert shares == pytest.approx([0.8 * 70 / 85, 0.8 * 15 / 85, 0.2], abs=2 / count)


def test_a_class_that_cannot_be_in_every_part_is_refused():
    records = [ImageRecord(Path(f"{i}.png"), "a", str(i), site=str(i % 5)) for i in range(20)]
    records += [
        ImageRecord(Path(f"b{i}.png"), "b", str(100 + i % 2), site=str(i % 2)) for i in range(10)
    ]
    with pytest.raises(DataError, match=r"label b: 2 patient\(s\), 10 image\(s\); .* val and test"):
        split_records(records, _settings())
    with pytest.raises(DataError, match="too few patients to be in fold 0, fold 1 and fold 2"):
        split_records(records, _settings(folds=3), 0)
    with pytest.raises(DataError, match="too few sites to be in fold 0, fold 1 and fold 2"):
        split_records(records, _settings("site", folds=3), 0)


def test_a_fold_is_asked_for_where_there_are_folds_and_nowhere_else():
    records = [ImageRecord(Path(f"{i}.png"), "a", str(i)) for i in range(20)]
    with pytest.raises(ConfigError, match=r"split\.folds is 4: a fold from 0 to 3 .* got none"):
        split_records(records, _settings(folds=4))
    with pytest.raises(ConfigError, match="from 0 to 3 is needed, got 4"):
        split_records(records, _settings(folds=4), 4)
    with pytest.raises(ConfigError, match=r"got fold 0, but split\.folds is 0"):
        split_records(records, _settings(), 0)


SITES = [
    ImageRecord(
        Path(f"{i}.png"), "ab"[i // 5 % 2], str(i), site=("Lima", "Oslo", "Oslo", "Rome")[i % 4]
    )
    for i in range(120)
]


def test_the_named_centres_are_the_test_part():
    splits = split_records(SITES, _settings("site", test_sites=("Rome",)))
    assert _by_path(splits.test) == _by_path(s for s in SITES if s.site == "Rome")
    _check(splits, SITES)
    assert len(splits.val) == pytest.approx(90 * 15 / 85, abs=2)  # one image per label
    both = split_records(SITES, _settings("site", test_sites=("Rome", "Lima")))
    assert {s.site for s in both.test} == {"Lima", "Rome"}


def test_the_seed_chooses_a_centre_where_none_is_named_and_folds_can_leave_one_out_each():
    assert {s.site for s in split_records(SITES, _settings("site")).test} < {"Lima", "Rome"}
    left_out = [
        {s.site for s in split_records(SITES, _settings("site", folds=3), fold).test}
        for fold in range(3)
    ]
    assert sorted(map(list, left_out)) == [["Lima"], ["Oslo"], ["Rome"]]


def test_what_a_split_by_centre_cannot_use_is_named():
    named = _settings("site", test_sites=("Rme",))
    with pytest.raises(DataError, match=r"no image has the site Rme; did you mean Rome\?"):
        split_records(SITES, named)
    bare = replace(SITES[7], site="")
    with pytest.raises(DataError, match=r"7\.png: has no site"):
        split_records([*SITES[:7], bare, *SITES[8:]], _settings("site"))
    rome = _settings("site", test_sites=("Rome",))
    moved = replace(SITES[0], patient_id=SITES[3].patient_id)
    with pytest.raises(DataError, match=r"patient 3 is in the test site Rome .* in Lima"):
        split_records([moved, *SITES[1:]], rome)
    split_records([moved, *SITES[1:]], _settings("site", test_sites=("Rome", "Lima")))
    lonely = replace(SITES[3], label="c")
    with pytest.raises(DataError, match="label c: no image outside the test sites"):
        split_records([*SITES[:3], lonely, *SITES[4:]], rome)
    more = [replace(SITES[n], label="c") for n in (0, 1, 2)]
    split = split_records([*more, *SITES[3:]], rome)  # a test site may lack a label
    assert "c" not in {record.label for record in split.test}


def test_a_source_can_be_held_out_and_stands_for_a_site_that_is_not_named():
    records = [replace(r, source="x" if n % 2 else "y") for n, r in enumerate(SITES)]
    held = split_records(records, _settings("source", test_sites=("y",)))
    assert {record.source for record in held.test} == {"y"}
    assert {record.source for record in (*held.train, *held.val)} == {"x"}
    bare = [replace(r, site="") if r.site == "Rome" else r for r in records]
    rome = [replace(r, source="z") if not r.site else r for r in bare]
    held = split_records(rome, _settings("site", test_sites=("z",)))
    assert {record.source for record in held.test} == {"z"}
