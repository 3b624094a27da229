"""The training loop: what a run leaves behind, and that a kill or a bad file cannot spoil it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orthoedge.runtime.errors import DataError, RecipeError
from orthoedge.runtime.files import sha256
from orthoedge.training.data import Radiographs, list_sha256, read_index
from orthoedge.training.ensemble import Ensemble
from orthoedge.training.evaluation import evaluate
from orthoedge.training.loop import fit, learning_rate
from orthoedge.training.norms import start_running_statistics
from orthoedge.training.recipe import Recipe, load_recipe
from orthoedge.training.run import load_run
from orthoedge.training.weights import load_weights

ROOT = Path(__file__).parents[2]
BINARY = ("labels=plain,spot", "compress.alert_labels=spot", "batch=8", "epochs=4")


def tiny(*overrides: str) -> Recipe:
    return load_recipe("tiny", (*BINARY, *overrides))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images a tiny network can learn: a bright spot, boxed, or none."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group", "boxes"))
        for i in range(120):
            pixels = cv2.GaussianBlur(rng.uniform(20, 120, (80, 80)).astype(np.float32), (0, 0), 2)
            boxes = ""
            if i % 2:
                x, y = (int(v) for v in rng.integers(12, 60, 2))
                cv2.circle(pixels, (x, y), 8, 170.0, -1)
                boxes = json.dumps([[(x - 9) / 80, (y - 9) / 80, (x + 9) / 80, (y + 9) / 80]])
            cv2.imwrite(str(folder / f"{i:03d}.png"), pixels.astype(np.uint8))
            writer.writerow((f"{i:03d}.png", ("plain", "spot")[i % 2], i, boxes))
    return folder


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on that set, never interrupted."""
    out = tmp_path_factory.mktemp("run") / "whole"
    fit(tiny(), read_index(data), out, progress=False, data=data)
    return out


def test_a_run_learns_and_leaves_everything_behind(finished, data):
    for name in (
        "model.safetensors", "last.pt", "recipe.json", "report.json", "split.csv", "log.csv",
        "metrics.json", "curves.png", "confusion.png",
    ):  # fmt: skip
        assert (finished / name).stat().st_size > 0, name
    assert any((finished / "tensorboard").iterdir())
    for picture in ("curves.png", "confusion.png"):
        assert cv2.imread(str(finished / picture)).std() > 1
    run = load_run(finished)
    assert run.recipe == tiny()
    assert run.metrics.accuracy > 0.8
    assert run.metrics.pointing_images == sum(bool(s.boxes) for s in run.split.test) > 0
    assert run.metrics.pointing_game is not None
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    best = max(rows, key=lambda row: (float(row["val_macro_f1"]), -float(row["val_loss"])))
    assert run.metrics.best_epoch == int(best["epoch"])


def test_load_run_gives_back_the_weights_the_metrics_were_measured_with(finished, data):
    run = load_run(finished)
    assert not run.model.training
    assert run.sha256 == sha256((finished / "model.safetensors").read_bytes())
    assert run.report.training_list_sha256 == list_sha256(run.split.train)
    test = Radiographs(run.split.test, run.recipe.labels, run.recipe.preprocess, False)
    assert evaluate(run.model, test).accuracy == run.metrics.accuracy
    assert {s.path for s in run.split.train} <= {s.path.resolve() for s in read_index(data)}
    assert any(s.boxes for s in run.split.train)


def test_a_data_set_that_moved_is_found_where_it_is_said_to_be(finished, data, tmp_path):
    import shutil

    shutil.copytree(data, tmp_path / "moved")
    moved = load_run(finished, tmp_path / "moved").split
    assert list_sha256(moved.test) == load_run(finished).report.test_list_sha256
    with pytest.raises(DataError, match="is not under"):
        load_run(finished, tmp_path)


def test_a_folder_that_is_no_finished_run_is_refused(finished, tmp_path):
    import shutil

    with pytest.raises(DataError, match="not a run folder"):
        load_run(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    whole = (copy / "split.csv").read_text()
    (copy / "split.csv").write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(DataError, match="no image is in part train"):
        load_run(copy)
    (copy / "split.csv").write_text(whole)
    (copy / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: weights cannot be read"):
        load_run(copy)
    (copy / "model.safetensors").write_bytes(b"PK\x03\x04 not it")
    with pytest.raises(DataError, match="expected a safetensors file"):
        load_run(copy)
    (copy / "metrics.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        load_run(copy)


def test_a_kill_in_the_middle_of_an_epoch_costs_that_epoch_and_nothing_else(
    finished, data, tmp_path
):
    out = tmp_path / "killed"
    # The child sends itself SIGKILL in the third epoch's fourth batch, as no handler could.
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import conftest
from pathlib import Path
from orthoedge.training import loop
from orthoedge.training.data import read_index
from orthoedge.training.recipe import load_recipe
real = loop.batches
def deadly(data, recipe, epoch):
    for step, batch in enumerate(real(data, recipe, epoch)):
        if epoch == 3 and step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch
loop.batches = deadly
loop.fit(load_recipe("tiny", {BINARY!r}), read_index(Path({str(data)!r})),
         Path({str(out)!r}), progress=False, data=Path({str(data)!r}))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    with pytest.raises(DataError, match="not finished"):
        load_run(out)
    with pytest.raises(DataError, match="already holds a run"):
        fit(tiny(), read_index(data), out, progress=False, data=data)
    with pytest.raises(RecipeError, match="another lr"):
        fit(tiny("lr=0.5"), read_index(data), out, resume=True, progress=False, data=data)
    with pytest.raises(DataError, match="images are not those"):
        fit(tiny(), read_index(data)[4:], out, resume=True, progress=False, data=data)
    metrics = fit(tiny(), read_index(data), out, resume=True, progress=False, data=data)
    whole = load_run(finished)
    assert metrics.epochs == 4
    again = load_file(out / "model.safetensors")
    for name, tensor in whole.model.state_dict().items():
        # Exactly: the random numbers belong to the epoch, and the recipe's one thread adds
        # gradients in one order.
        assert torch.equal(again[name], tensor), name
    with (out / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def test_a_kill_from_outside_leaves_whole_files(data, tmp_path):
    out = tmp_path / "run"
    command = [
        sys.executable, "-c",
        "import sys; import conftest, argparse; from orthoedge.cli import train;"
        "p = argparse.ArgumentParser(); train.add_arguments(p);"
        "sys.exit(train.run(p.parse_args()))",
        "tiny", "--data", str(data), "--out", str(out), "--resume",
    ]  # fmt: skip
    for value in (*BINARY, "epochs=200"):
        command += ["--set", value]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while _epochs(out) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
        assert child.poll() is None
    child.kill()
    child.wait()
    written = _epochs(out)
    assert written >= 3
    state = torch.load(out / "last.pt", weights_only=True)
    assert len(state["epochs"]) - written in (0, 1)  # the state is written before the log
    best = load_file(out / "model.safetensors")
    assert best.keys() == state["network"].keys()


def _epochs(out: Path) -> int:
    log = out / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.is_file() else 0


def test_a_runs_weights_start_a_run_at_another_size_with_every_tensor_loaded(finished, tmp_path):
    recipe = tiny("preprocess.size=96")
    network = Ensemble(recipe.backbones, 2, recipe.fusion)
    report = load_weights(network, finished / "model.safetensors")
    assert report.into == "all"
    assert report.loaded == report.wanted == len(network.state_dict())
    assert report.missed == report.unused == ()
    network.eval().explain(torch.zeros(1, 1, 96, 96, dtype=torch.uint8))


def test_a_timm_state_fills_one_branch_and_says_what_it_left(tmp_path):
    import timm

    torch.manual_seed(0)
    peer = timm.create_model("test_resnet", num_classes=10, in_chans=3).eval()
    save_file(peer.state_dict(), tmp_path / "resnet.safetensors")
    network = Ensemble(("test_efficientnet", "test_resnet"), 2)
    report = load_weights(network, tmp_path / "resnet.safetensors")
    assert report.into == "test_resnet"
    assert report.loaded == report.wanted
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    assert "branches.1.head.weight" in report.missed
    assert all(not name.startswith("branches.1.backbone.") for name in report.missed)
    # Three equal channels through the peer are one channel through ours.
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        theirs = peer.forward_features(x.expand(-1, 3, -1, -1))
        assert torch.allclose(network.eval().branches[1].features(x), theirs, atol=1e-4)


def test_weights_that_fit_nothing_and_pickles_are_refused(tmp_path):
    network = Ensemble(("test_efficientnet",), 2)
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"no tensor fits test_efficientnet.*other\.weight"):
        load_weights(network, tmp_path / "other.safetensors")
    torch.save(network.state_dict(), tmp_path / "model.pt")
    with pytest.raises(DataError, match="pickle"):
        load_weights(network, tmp_path / "model.pt")
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(network, tmp_path / "absent.safetensors")


def test_running_statistics_start_from_the_data_and_leave_loaded_ones_alone():
    torch.manual_seed(0)
    network = Ensemble(("test_efficientnet", "test_resnet"), 2)
    settled = network.branches[1].backbone.bn1
    settled.running_mean.fill_(0.25)
    images = torch.randint(100, 120, (16, 1, 64, 64), dtype=torch.uint8)
    start_running_statistics(network, [images, images])
    first = network.branches[0].backbone.bn1
    assert first.running_var.max() < 0.5
    assert first.momentum == 0.1
    assert torch.equal(settled.running_mean, torch.full_like(settled.running_mean, 0.25))


def test_the_learning_rate_warms_up_and_falls_as_the_recipe_says():
    recipe = tiny("lr=0.1", "warmup_epochs=1", "schedule=cosine", "epochs=5")
    rates = [learning_rate(recipe, e) for e in (0.5, 1, 3, 5)]
    assert rates == pytest.approx([0.05, 0.1, 0.05, 0.0])
    assert learning_rate(tiny("lr=0.1"), 4) == 0.1
