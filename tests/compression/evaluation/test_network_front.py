"""The tables of networks and of the cost of masks come from a run's own weights."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from orthoedge.benchmarks.schema import Interval
from orthoedge.compression.evaluation import mask_cost, network_front
from orthoedge.runtime.bundles.bundle import read_bundle
from tests.training.masks.conftest import classifier, spots

__all__ = ["classifier", "spots"]


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow  # several networks are quantized
def test_the_front_has_a_row_for_each_run_size_and_stride(tiny_run, tiny_bundle, tmp_path, capsys):
    shutil.copytree(tiny_run, other := tmp_path / "other")
    out = tmp_path / "front"
    run = tiny_run.name
    model = tmp_path / "cut.onnx"
    model.write_bytes(read_bundle(tiny_bundle).model("fp32"))
    forms = ("64/32", "64/16", str(model), str(other), "96/32")
    network_front.main(str(out), str(tiny_run), *forms)
    printed = capsys.readouterr().out
    head, *table = [row for row in rows(printed) if "---" not in row[0]]
    assert [row[:2] for row in table] == [
        [f"{run} 64/32", "2 × 2"],
        [f"{run} 64/16", "4 × 4"],
        ["cut 64/32", "2 × 2"],
        ["other 96/32", "3 × 3"],
    ]
    assert any(name.startswith("peak near") for name in head)
    assert printed.splitlines()[-1].startswith("Front: ")
    assert cv2.imread(str(out / "front.png")).std() > 1
    kept = network_front.read_record(out / f"{run}-64-32.json", network_front.Variant)
    assert set(kept.auc) == {"fracture", "tumour", "malignancy"}
    assert kept.mean_auc_int8.value == pytest.approx(np.mean(list(kept.auc_int8.values())))
    again = network_front.measure(tiny_run, "64/32", out, tmp_path / "none")
    assert again == kept
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [(), ("224/32",), ("224/32", "run")])
def test_a_size_needs_a_run_before_it(arguments, tmp_path):
    with pytest.raises(SystemExit, match="usage"):
        network_front.main(str(tmp_path), *arguments)


def test_the_front_is_what_nothing_beats(tmp_path):
    scores = {"slow": (3.0, 0.9), "beaten": (2.0, 0.75), "middle": (2.0, 0.8), "fast": (1.0, 0.7)}
    variants = [variant(name, auc) for name, (_, auc) in scores.items()]
    times = {(v.name, "int8"): SimpleNamespace(p50=scores[v.network][0]) for v in variants}
    assert [v.network for v in network_front.front(variants, times)] == ["fast", "middle", "slow"]


def variant(network, auc):
    value = Interval(value=auc, low=auc, high=auc)
    return network_front.Variant(
        network=network,
        size=64,
        stride=32,
        cells=2,
        auc={},
        auc_int8={},
        mean_auc_int8=value,
        near={},
        inside={},
    )


@pytest.mark.slow
def test_a_decoder_has_a_row_relative_to_the_network_without(classifier, tmp_path, capsys):
    mask_cost.main(str(classifier), str(tmp_path / "cost"), "8/16")
    first, second = rows(capsys.readouterr().out)[-2:]
    assert (first[0], second[0]) == ("none", "8/16")
    assert first[2].startswith("1.000")
    assert np.isfinite(float(second[1]))
