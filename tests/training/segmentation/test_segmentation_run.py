"""A run of the segmentation stage: what it leaves, that a kill cannot spoil it, and its report."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orthoedge.cli.main import main
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.index import list_sha256, read_index
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.run_folder import load_run, write_record
from orthoedge.training.segmentation.data import OutlinedDataset
from orthoedge.training.segmentation.fit import fit_segmentation, load_segmentation
from orthoedge.training.segmentation.predictions import outline
from orthoedge.training.segmentation.schema import SegmentationReport
from tests.training.segmentation.conftest import LEARNABLE

pytestmark = pytest.mark.slow  # each begins with a training

ROOT = Path(__file__).parents[3]
SET = [text for setting in LEARNABLE for text in ("--set", setting)]


@pytest.fixture(scope="module")
def finished(spots, tmp_path_factory):
    """A run by the command line."""
    out = tmp_path_factory.mktemp("run") / "whole"
    assert main(["train", "unet-region", "--data", str(spots), "--out", str(out), *SET]) == 0
    return out


def report_of(folder):
    return msgspec.json.decode((folder / "evaluation.json").read_bytes(), type=SegmentationReport)


def test_a_run_learns_and_leaves_everything_behind(finished):
    for name in (
        "model.safetensors", "last.pt", "recipe.json", "report.json", "split.csv", "log.csv",
        "metrics.json", "curves.png", "evaluation/evaluation.json", "evaluation/evaluation.md",
    ):  # fmt: skip
        assert (finished / name).stat().st_size > 0, name
    for name in ("curves", "evaluation/typical", "evaluation/worst", "evaluation/froc"):
        assert cv2.imread(str(finished / f"{name}.png")).std() > 1, name
    blue, _, red = cv2.split(cv2.imread(str(finished / "evaluation/typical.png")).astype(int))
    assert (red - blue > 150).sum() > 50  # outlines are orange, not grey
    assert any((finished / "tensorboard").iterdir())
    run = load_segmentation(finished)
    assert run.metrics.dice["spot"] > 0.6
    assert run.metrics.iou["spot"] < run.metrics.dice["spot"]
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: (float(row["val_dice"]), -float(row["val_loss"])))
    assert run.metrics.best_epoch == int(best["epoch"])


def test_a_run_read_back_outlines_as_its_metrics_say(finished):
    run = load_segmentation(finished)
    recipe = run.recipe
    test = OutlinedDataset(run.splits.test, recipe.labels, recipe.preprocess, False)
    outlines = outline(run.model, test, False)
    has = outlines.has_lesion
    assert outlines.overlaps[0, has].mean() == pytest.approx(run.metrics.dice["spot"])
    assert float((~outlines.is_outlined[~has]).mean()) == run.metrics.clean
    assert run.info.test_list_sha256 == test.list_sha256 != list_sha256(run.splits.test)


def test_a_classifiers_verbs_refuse_the_run_and_the_other_way_round(finished, tmp_path):
    with pytest.raises(DataError, match="a run of the segmentation stage"):
        load_run(finished)
    write_record(tmp_path / "recipe.json", load_recipe("tiny"))
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="the run of a classifier"):
        load_segmentation(tmp_path)
    assert main(["compress", str(finished), "--out", str(tmp_path / "bundle")]) == 2


def test_a_recipe_without_the_stage_and_a_set_without_masks_are_refused(spots, small, tmp_path):
    records = read_index(spots)
    with pytest.raises(ConfigError, match="no table segmentation"):
        fit_segmentation(load_recipe("tiny"), records, tmp_path / "run")
    with pytest.raises(ConfigError, match="the recipe has no table segmentation"):
        load_recipe("tiny", ["segmentation.size=64"])
    with pytest.raises(ConfigError, match=r"segmentation\.size: expected a multiple of 32"):
        small("segmentation.size=100")
    healthy = [record for record in records if record.mask is None]
    with pytest.raises(DataError, match="no image has a mask"):
        fit_segmentation(small(), healthy, tmp_path / "run")
    assert not (tmp_path / "run").exists()


STATEFUL = ("segmentation.epochs=3", "ema=0.9", "gradient_clip=1", "schedule=cosine")
KILLED = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import conftest
from pathlib import Path
from orthoedge.training.data.index import read_index
from orthoedge.training.loop import step, train
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.segmentation import fit
where, data, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
if where == "in an epoch":
    call = step.Stepper.__call__
    step.Stepper.__call__ = lambda self, batch, epoch, index: (
        die() if (epoch, index) == (2, 1) else call(self, batch, epoch, index))
if where == "before the metrics":
    fit.write_report = die
recipe = load_recipe("unet-region", {(*LEARNABLE, *STATEFUL)!r})
fit.fit_segmentation(recipe, read_index(data), out, resume=True, progress=False, data=data)
"""


@pytest.fixture(scope="module")
def whole(spots, small, tmp_path_factory):
    """A run that is never killed, and its metrics."""
    out = tmp_path_factory.mktemp("stateful") / "whole"
    recipe = small(*STATEFUL)
    return out, fit_segmentation(recipe, read_index(spots), out, progress=False, data=spots)


@pytest.mark.parametrize("where", ["in an epoch", "before the metrics"])
def test_a_killed_run_ends_as_a_whole_one_to_the_bit(where, spots, small, whole, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, where, str(spots), str(out)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with pytest.raises(DataError, match="not finished"):
        load_segmentation(out)
    recipe, records = small(*STATEFUL), read_index(spots)
    metrics = fit_segmentation(recipe, records, out, resume=True, progress=False, data=spots)
    assert metrics == whole[1]
    again = load_file(out / "model.safetensors")
    # Exactly: random numbers belong to the epoch, and one thread adds gradients in one order.
    for name, tensor in load_file(whole[0] / "model.safetensors").items():
        assert torch.equal(again[name], tensor), name


def test_evaluate_measures_unseen_images_and_names_seen_ones(finished, spots, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["evaluate", str(finished), "--data", str(spots), "--out", str(out)]
    assert main(arguments) == 2
    assert "trained or chosen on" in capsys.readouterr().err
    assert main([*arguments, "--allow-seen"]) == 0
    printed, report = capsys.readouterr().out, report_of(out)
    assert "all spot: Dice" in printed
    assert "sensitivity at 0.5 false alarms" in printed
    assert (report.images, report.groups, report.size) == (80, 80, 64)
    assert 0 < report.seen < 80
    assert report.sources == {"here": 40, "there": 40}
    assert [(row.source, row.label) for row in report.overlaps] == [
        ("", "spot"), ("here", "spot"), ("there", "spot"),
    ]  # fmt: skip
    whole, *parts = report.overlaps
    assert whole.dice.value == pytest.approx(np.mean([row.dice.value for row in parts]))
    assert all(row.dice.low <= row.dice.value <= row.dice.high for row in report.overlaps)
    assert [row.images for row in report.clean] == [20, 20]
    for row in report.lesions:
        assert row.lesions > 20  # some images have two spots
        shares = [share.value for share in row.sensitivity]
        assert shares == sorted(shares)
    text = (out / "evaluation.md").read_text("utf-8")
    assert all(f"]({name}.png)" in text for name in ("froc", "typical", "worst"))


def test_masks_that_changed_are_noticed(finished, spots, tmp_path, capsys):
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(spots, moved)
    for mask in moved.glob("*-mask.png"):
        pixels = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(mask), np.roll(pixels, 5, axis=0))
    arguments = ["--data", str(spots), "--out", str(tmp_path / "report"), "--run-data", str(moved)]
    assert main(["evaluate", str(finished), *arguments]) == 2
    assert "no longer those it was trained on" in capsys.readouterr().err


def test_two_processes_give_the_loss_curve_of_one(spots, finished, tmp_path):
    script = tmp_path / "command.py"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import conftest\n"
    script.write_text(start + "from orthoedge.cli.main import main; sys.exit(main())")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(script), "train", "unet-region", "--data", str(spots)),
        *("--out", str(tmp_path / "two"), *SET),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, env=environment, check=True, timeout=600)

    def losses(run):
        with (run / "log.csv").open() as file:
            return [float(row["train_loss"]) for row in csv.DictReader(file)]

    # Sums in another order, through four epochs of AdamW.
    assert losses(tmp_path / "two") == pytest.approx(losses(finished), abs=5e-3)
