"""The tables of finer maps and of the cost of masks come from a run's own weights."""

import cv2
import numpy as np
import pytest

from orthoedge.compression.evaluation import map_front, mask_cost
from orthoedge.training.run_folder import load_run
from tests.training.masks.conftest import classifier, spots

__all__ = ["classifier", "spots"]

pytestmark = pytest.mark.slow  # several networks are quantized


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_front_has_a_row_for_each_size_and_stride(tiny_run, tmp_path, capsys):
    names = ("64/32", "64/16", "96/32")
    map_front.main(str(tiny_run), str(tmp_path / "front"), *names)
    head, *table = [row for row in rows(capsys.readouterr().out) if "---" not in row[0]]
    assert [row[:2] for row in table] == [
        ["64/32", "2 × 2"],
        ["64/16", "4 × 4"],
        ["96/32", "3 × 3"],
    ]
    assert any(name.startswith("peak near") for name in head)
    assert cv2.imread(str(tmp_path / "front" / "front.png")).std() > 1
    metrics = load_run(tiny_run).metrics
    kept = map_front.read_record(tmp_path / "front" / "64-32.json", map_front.Variant)
    assert set(kept.auc) == {"fracture", "tumour", "malignancy"}
    assert metrics.pointing_game is not None
    again = map_front.measure(load_run(tiny_run), "64/32", tmp_path / "front", tmp_path / "none")
    assert again == kept
    assert not (tmp_path / "none").exists()


def test_a_decoder_has_a_row_relative_to_the_network_without(classifier, tmp_path, capsys):
    mask_cost.main(str(classifier), str(tmp_path / "cost"), "8/16")
    first, second = rows(capsys.readouterr().out)[-2:]
    assert (first[0], second[0]) == ("none", "8/16")
    assert first[2].startswith("1.000")
    assert np.isfinite(float(second[1]))
