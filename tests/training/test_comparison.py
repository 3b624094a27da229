"""Several runs of one recipe: what is planned, what a stop costs, what is reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.comparison import check_not_comparison, compare, tasks
from orthoedge.training.data.index import read_index
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.run_folder import load_run

SMALL = (
    "fusion=", "combine=compare", "backbones=plain_cnn_2,plain_cnn_3", "split.folds=2",
    "epochs=1", "preprocess.size=32", "dropout=0",
)  # fmt: skip


def test_a_recipe_is_planned_as_networks_times_folds():
    planned = tasks(load_recipe("resnet50-vgg19"))
    assert [task.name for task in planned] == [
        f"{network}/fold{fold}" for network in ("resnet50", "vgg19_bn") for fold in range(5)
    ]
    assert {task.recipe.combine for task in planned} == {"fuse"}
    assert [task.name for task in tasks(load_recipe("tumor-compare"))] == list(
        load_recipe("tumor-compare").backbones
    )
    fused = tasks(load_recipe("orthovision", ["split.folds=2"]))
    assert [task.name for task in fused] == [
        "efficientnet_b0+rexnet_100/fold0",
        "efficientnet_b0+rexnet_100/fold1",
    ]
    assert fused[0].recipe.fusion == (0.4, 0.6)


@pytest.fixture(scope="module")
def finished(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("comparison") / "out"
    compare(load_recipe("tiny", SMALL), read_index(phantoms), out, progress=False, data=phantoms)
    return out


@pytest.mark.slow
def test_a_comparison_has_one_row_per_network_and_tests_every_study_once(finished, phantoms):
    comparison = json.loads((finished / "comparison.json").read_text())
    assert [row["network"] for row in comparison["rows"]] == ["plain_cnn_2", "plain_cnn_3"]
    for row in comparison["rows"]:
        scores = [member["accuracy"]["value"] for member in row["members"]]
        assert row["accuracy"]["mean"] == pytest.approx(sum(scores) / 2)
        # The sample's standard deviation of two values.
        deviation = abs(scores[0] - scores[1]) / 2**0.5
        assert row["accuracy"]["high"] - row["accuracy"]["mean"] == pytest.approx(deviation)
        assert set(row["alert_recall"]) == {"tumor-malignant"}
    runs = [load_run(finished / "plain_cnn_2" / f"fold{fold}") for fold in (0, 1)]
    tested = [record.path.name for run in runs for record in run.splits.test]
    assert sorted(tested) == sorted(record.path.name for record in read_index(phantoms))
    assert "| **plain_cnn_" in (finished / "comparison.md").read_text()
    assert cv2.imread(str(finished / "comparison.png")).std() > 1


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_without_repeating_a_finished_run(finished, phantoms, capfd):
    recipe, records = load_recipe("tiny", SMALL), read_index(phantoms)
    with pytest.raises(DataError, match="already holds a comparison; give --resume"):
        compare(recipe, records, finished, progress=False, data=phantoms)
    other = load_recipe("tiny", (*SMALL, "lr=0.5"))
    with pytest.raises(ConfigError, match="comparison to resume has a different lr"):
        compare(other, records, finished, resume=True, progress=False, data=phantoms)
    with pytest.raises(DataError, match="images are not those"):
        compare(recipe, records[4:], finished, resume=True, progress=False, data=phantoms)
    last = finished / "plain_cnn_3" / "fold1"
    weights = (last / "model.safetensors").read_bytes()
    (last / "metrics.json").unlink()  # as if it had been killed before its end
    with pytest.raises(DataError, match="an unfinished comparison"):
        check_not_comparison(finished)
    capfd.readouterr()
    compare(recipe, records, finished, resume=True, progress=False, data=phantoms)
    stderr = capfd.readouterr().err
    assert stderr.count("finished before") == 3
    assert "[4/4] plain_cnn_3/fold1" in stderr
    assert (last / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_the_best_run_by_validation_is_named_to_who_compresses_or_evaluates_them_all(
    finished, capsys
):
    runs = [finished / f"plain_cnn_{width}" / f"fold{fold}" for width in (2, 3) for fold in (0, 1)]
    best = max(runs, key=lambda run: load_run(run).metrics.val_macro_f1)
    with pytest.raises(DataError) as raised:
        check_not_comparison(finished)
    assert f"{best} is best by validation" in str(raised.value)
    check_not_comparison(best)  # a run is none
    assert main(["evaluate", str(finished), "--data", "absent", "--out", "absent"]) == 2
    assert f"{best} is best by validation" in capsys.readouterr().err


@pytest.mark.slow
def test_networks_on_one_split_are_told_with_the_interval_of_their_one_run(phantoms, tmp_path):
    once = load_recipe("tiny", (*SMALL, "split.folds=0"))
    compare(once, read_index(phantoms), tmp_path / "out", progress=False, data=phantoms)
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    one = json.loads((tmp_path / "out/plain_cnn_2/evaluation/evaluation.json").read_text())
    spread = comparison["rows"][0]["accuracy"]
    assert (spread["low"], spread["mean"], spread["high"]) == (
        one["accuracy"]["low"],
        one["accuracy"]["value"],
        one["accuracy"]["high"],
    )
    assert spread["low"] < spread["high"]


@pytest.mark.slow
def test_a_comparison_goes_on_from_the_weights_it_was_started_with(finished, phantoms):
    recipe, records = load_recipe("tiny", SMALL), read_index(phantoms)
    weights = finished.parent / "weights"
    weights.mkdir()
    for network in recipe.backbones:
        shutil.copy(
            finished / network / "fold0" / "model.safetensors", weights / f"{network}.safetensors"
        )
    with pytest.raises(DataError, match="has different --weights"):
        compare(recipe, records, finished, [weights], resume=True, progress=False, data=phantoms)


def test_a_network_that_does_not_exist_is_told_before_the_first_run(phantoms, tmp_path):
    recipe = load_recipe("tiny", (*SMALL, "backbones=plain_cnn_2,resnet18:x"))
    with pytest.raises(ConfigError, match="timm has no model named resnet18:x"):
        compare(recipe, read_index(phantoms), tmp_path / "out", progress=False, data=phantoms)
    assert not (tmp_path / "out").exists()


def test_weights_for_several_networks_are_a_folder_with_a_file_for_each(phantoms, tmp_path):
    recipe, records = load_recipe("tiny", SMALL), read_index(phantoms)
    file = tmp_path / "plain_cnn_2.safetensors"
    file.write_bytes(b"")
    with pytest.raises(DataError, match="one file fits one network; give a folder"):
        compare(recipe, records, tmp_path / "out", [file])
    with pytest.raises(DataError, match=r"plain_cnn_3\.safetensors: no such file"):
        compare(recipe, records, tmp_path / "out", [tmp_path])
    assert not (tmp_path / "out").exists()
