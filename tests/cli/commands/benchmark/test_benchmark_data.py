import csv
from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.cli.commands.benchmark.inputs import has_labels, open_labelled
from orthoedge.cli.commands.benchmark.measure import _prepared
from orthoedge.runtime.errors import DataError
from orthoedge.training.phantoms.render import LABELS, render


def index(folder, labels):
    rows = []
    for number, label in enumerate(labels):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40), number, np.uint8))
        box = "[[0.1, 0.1, 0.5, 0.5]]" if label == "a" else ""
        rows.append((f"{number}.png", label, f"patient {number // 2}", box))
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "boxes"), *rows])


def test_phantoms_are_rendered_for_the_context_alone(capsys):
    with open_labelled(None, LABELS, 8) as found:
        assert sorted(found.labels) == sorted(LABELS * 2)
        assert found.description.startswith("8 phantoms of seed ")
        seed = int(found.description.rsplit(" ", 1)[1])
        expected = render(seed, 3).image
        np.testing.assert_array_equal(cv2.imread(str(found.images[3]), 0), expected)
        assert all(
            bool(boxes) == (label != "non-affected")
            for boxes, label in zip(found.boxes, found.labels, strict=True)
        )
    assert not any(path.exists() for path in found.images)
    assert capsys.readouterr().err == "", "no bar but on a terminal"


def test_phantoms_of_other_labels_do_not_exist():
    with pytest.raises(DataError, match="--data"), open_labelled(None, ("a", "b"), 8):
        pass


def test_a_set_is_read_with_groups_and_boxes_and_drawn_from(tmp_path):
    index(tmp_path, ["a", "b"] * 10)
    with open_labelled(tmp_path, ("a", "b"), 600) as found:
        assert len(found.images) == 20
        assert found.groups[:3] == ("patient 0", "patient 0", "patient 1")
        assert found.boxes[:2] == (((0.1, 0.1, 0.5, 0.5),), ())
    with open_labelled(tmp_path / "index.csv", ("a", "b"), 6) as few:
        assert sorted(few.labels) == ["a"] * 3 + ["b"] * 3
        assert few.description.startswith("6 of 20 radiographs of ")


def test_only_a_set_with_labels_is_judged_on(tmp_path):
    flat, sorted_, listed = (tmp_path / name for name in ("flat", "sorted", "listed"))
    for folder in (flat, sorted_ / "a", listed):
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "1.png"), np.zeros((40, 40), np.uint8))
    index(listed, ["a"])
    assert [has_labels(folder) for folder in (flat, sorted_, listed)] == [False, True, True]
    assert has_labels(listed / "index.csv")


def test_a_bundle_from_radiographs_is_not_judged_on_phantoms(small_bundle):
    manifest = msgspec.structs.replace(small_bundle.manifest, data="radiographs")
    skipped, paths = _prepared(replace(small_bundle, manifest=manifest), None, "quick")
    assert skipped.reason.startswith("phantoms say nothing about a bundle from radiographs")
    assert "--data" in skipped.reason
    assert paths == ()
