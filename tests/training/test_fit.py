"""The training loop: what a run leaves behind, and that a kill or a bad file cannot spoil it."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file, save_file

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import list_sha256, read_index
from orthoedge.training.evaluation.predictions import evaluate
from orthoedge.training.fit import fit
from orthoedge.training.loop.step import learning_rate
from orthoedge.training.model.batch_norm import start_running_statistics
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.label_offsets import fit_label_offsets
from orthoedge.training.model.weights import load_weights
from orthoedge.training.recipe import Recipe
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.run_folder import TrainingMetrics, load_run

ROOT = Path(__file__).parents[2]
BINARY = ("labels=plain,spot", "compress.alert_labels=spot", "batch=8", "epochs=4")


def tiny(*overrides: str) -> Recipe:
    return load_recipe("tiny", (*BINARY, *overrides))


@pytest.fixture(scope="module")
def data(spot_images: Path) -> Path:
    return spot_images


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on that set, never interrupted."""
    out = tmp_path_factory.mktemp("run") / "whole"
    fit(tiny(), read_index(data), out, progress=False, data=data)
    return out


def test_a_run_learns_and_leaves_everything_behind(finished, data):
    for name in (
        "model.safetensors", "last.pt", "recipe.json", "report.json", "split.csv", "log.csv",
        "shortcuts.json", "metrics.json", "curves.png",
        "evaluation/evaluation.json", "evaluation/evaluation.md",
    ):  # fmt: skip
        assert (finished / name).stat().st_size > 0, name
    assert any((finished / "tensorboard").iterdir())
    for picture in ("curves.png", "evaluation/confusion.png"):
        assert cv2.imread(str(finished / picture)).std() > 1
    run = load_run(finished)
    assert run.recipe == tiny()
    assert run.metrics.accuracy > 0.8
    assert run.metrics.pointing_images == sum(bool(s.boxes) for s in run.splits.test) > 0
    assert run.metrics.pointing_game is not None
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    best = max(rows, key=lambda row: (float(row["val_macro_f1"]), -float(row["val_loss"])))
    assert run.metrics.best_epoch == int(best["epoch"])


@pytest.mark.slow
def test_where_sources_have_labels_of_their_own_probabilities_fit_the_validation_split(
    data, tmp_path
):
    recipe = tiny('source_labels.a=["plain","spot"]', "epochs=1")
    fit(recipe, read_index(data), tmp_path / "run", progress=False, data=data)
    run = load_run(tmp_path / "run")
    val = RadiographDataset(run.splits.val, recipe.labels, recipe.preprocess, False)
    left = fit_label_offsets(evaluate(run.model, val).logits, val.labels)
    assert left == pytest.approx([0, 0], abs=0.02)  # the optimizer's own tolerance is far less


def test_load_run_gives_back_the_weights_the_metrics_were_measured_with(finished, data):
    run = load_run(finished)
    assert not run.model.training
    assert run.sha256 == sha256((finished / "model.safetensors").read_bytes())
    assert run.info.training_list_sha256 == list_sha256(run.splits.train)
    test = RadiographDataset(run.splits.test, run.recipe.labels, run.recipe.preprocess, False)
    assert evaluate(run.model, test).accuracy == run.metrics.accuracy
    assert {s.path for s in run.splits.train} <= {s.path.resolve() for s in read_index(data)}
    assert any(s.boxes for s in run.splits.train)


def test_a_data_set_that_moved_is_found_where_it_is_said_to_be(finished, data, tmp_path):
    import shutil

    shutil.copytree(data, tmp_path / "moved")
    moved = load_run(finished, tmp_path / "moved").splits
    assert list_sha256(moved.test) == load_run(finished).info.test_list_sha256
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
    with pytest.raises(DataError, match="no image is in split train"):
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


# Every kind of state that a resumed run must have back: optimizer, moving average, random numbers.
STATEFUL = (*BINARY, "epochs=3", "ema=0.9", "mixup=0.3", "gradient_clip=1", "schedule=cosine")
KILLED = f"""
import os, random, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import conftest
from pathlib import Path
from orthoedge.training import fit as classifier
from orthoedge.training.loop import train as loop
from orthoedge.training.data import cache
from orthoedge.training.data.index import read_index
from orthoedge.training.recipe_file import load_recipe
where, data, out, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
if where == "caching":
    cache._AT_ONCE = 40
    decode = cache._decode
    def blocks(*args):
        for number, block in enumerate(decode(*args)):
            yield block if number < 1 else die()
    cache._decode = blocks
if where == "in an epoch":
    step, number = loop.Stepper.__call__, random.randrange(10)
    print("dies in epoch 2, step", number, file=sys.stderr)
    def some(self, batch, epoch, index):
        return die() if epoch == 2 and index == number else step(self, batch, epoch, index)
    loop.Stepper.__call__ = some
if where == "between weights and state":
    loop.save_state = die
if where == "between state and log":
    write = loop._write_log
    loop._write_log = lambda path, epochs: die() if len(epochs) == 3 else write(path, epochs)
if where == "before the metrics":
    classifier.write_curves = die
classifier.fit(load_recipe("tiny", {STATEFUL!r}), read_index(data), out, resume=True,
               progress=False, data=data, cache=folder)
"""


KILL_POINTS = (
    "caching", "in an epoch", "between weights and state", "between state and log",
    "before the metrics",
)  # fmt: skip


@dataclass(frozen=True)
class KilledRun:
    """A run that was killed at some of `KILL_POINTS`, and resumed after each."""

    out: Path
    cache: Path
    refusals: dict[str, str]
    """The message of `load_run` after each kill."""
    empty_cache_files: list[Path]
    """Found after any of the kills."""


@pytest.fixture(
    scope="module",
    params=[KILL_POINTS[1:2], pytest.param(KILL_POINTS, marks=pytest.mark.slow)],
    ids=["one", "all"],
)
def killed_run(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> KilledRun:
    folder = tmp_path_factory.mktemp("killed")
    run = KilledRun(folder / "run", folder / "cache", {}, [])
    for where in request.param:
        # The children send themselves SIGKILL, as no handler could catch it.
        child = subprocess.run(
            [sys.executable, "-c", KILLED, where, str(data), str(run.out), str(run.cache)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, f"{where}: {child.stderr}"
        run.empty_cache_files.extend(p for p in run.cache.glob("*.npy") if p.stat().st_size == 0)
        with pytest.raises(DataError) as refusal:
            load_run(run.out)
        run.refusals[where] = str(refusal.value)
    return run


@pytest.fixture(scope="module")
def resumed_run(killed_run: KilledRun, data: Path) -> tuple[Path, TrainingMetrics]:
    """The killed run, resumed to its end, and its metrics."""
    recipe, records, cache = tiny(*STATEFUL), read_index(data), killed_run.cache
    metrics = fit(
        recipe, records, killed_run.out, resume=True, progress=False, data=data, cache=cache
    )
    return killed_run.out, metrics


@pytest.fixture(scope="module")
def whole_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingMetrics]:
    """The same run without a kill, and its metrics."""
    out = tmp_path_factory.mktemp("stateful") / "whole"
    return out, fit(tiny(*STATEFUL), read_index(data), out, progress=False, data=data)


def test_a_run_killed_at_any_point_is_not_read_as_finished(killed_run):
    for where, refusal in killed_run.refusals.items():
        assert re.search("not a run folder|not finished", refusal), where


def test_a_kill_leaves_no_empty_cache_file(killed_run):
    assert not killed_run.empty_cache_files


def test_a_killed_run_is_resumed_only_with_its_own_recipe_and_images(killed_run, data):
    recipe, records, out = tiny(*STATEFUL), read_index(data), killed_run.out
    with pytest.raises(DataError, match="already holds a run"):
        fit(recipe, records, out, progress=False, data=data)
    with pytest.raises(ConfigError, match="a different lr"):
        fit(tiny(*STATEFUL, "lr=0.5"), records, out, resume=True, progress=False, data=data)
    with pytest.raises(DataError, match="images are not those"):
        fit(recipe, records[4:], out, resume=True, progress=False, data=data)


def test_a_resumed_run_gives_the_result_of_a_whole_one_to_the_bit(resumed_run, whole_run):
    (resumed, metrics), (whole, expected) = resumed_run, whole_run
    assert metrics == expected
    again = load_file(resumed / "model.safetensors")
    for name, tensor in load_file(whole / "model.safetensors").items():
        # Exactly: the random numbers belong to the epoch, and the recipe's one thread adds
        # gradients in one order.
        assert torch.equal(again[name], tensor), name


def test_every_epoch_of_a_resumed_run_is_logged_once(resumed_run, whole_run):
    for run, _ in (resumed_run, whole_run):
        with (run / "log.csv").open() as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_kill_from_outside_leaves_whole_files(data, tmp_path):
    out = tmp_path / "run"
    command = [
        sys.executable, "-c",
        "import sys; import conftest, argparse; from orthoedge.cli.commands import train;"
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


def test_a_run_of_one_branch_fills_that_branch_of_an_ensemble(tmp_path):
    torch.manual_seed(0)
    alone = Ensemble(("test_resnet",), 2)
    save_file(alone.state_dict(), tmp_path / "model.safetensors")
    network = Ensemble(("test_efficientnet", "test_resnet"), 2, (0.4, 0.6))
    report = load_weights(network, tmp_path / "model.safetensors")
    assert (report.into, report.loaded, report.missed) == ("test_resnet", report.wanted, ())
    for name, value in alone.branches[0].state_dict().items():
        assert torch.equal(network.branches[1].state_dict()[name], value), name
    assert network.fusion().tolist() == pytest.approx([0.4, 0.6])


def test_a_timm_convnext_brings_its_last_normalization_with_it(tmp_path):
    import timm

    peer = timm.create_model("test_convnext", num_classes=10, in_chans=1).eval()
    with torch.no_grad():
        peer.head.norm.weight.uniform_(0.5, 2)
    save_file(peer.state_dict(), tmp_path / "convnext.safetensors")
    network = Ensemble(("test_convnext",), 2)
    report = load_weights(network, tmp_path / "convnext.safetensors")
    assert report.loaded == report.wanted
    norm = network.branches[0].backbone.norm_pre
    assert torch.equal(norm.weight, peer.head.norm.weight)


def test_a_damaged_state_is_refused_in_words(finished, data, tmp_path):
    import shutil

    for content in (b"", b"text", b"not a state at all"):
        out = tmp_path / str(len(content))
        shutil.copytree(finished, out)
        (out / "last.pt").write_bytes(content)
        (out / "metrics.json").unlink()
        with pytest.raises(DataError, match=r"last\.pt: not a state this version can resume"):
            fit(tiny(), read_index(data), out, resume=True, progress=False, data=data)


def test_branches_of_unequal_maps_are_refused_before_training(data, tmp_path):
    unequal = tiny("backbones=plain_cnn_2,test_efficientnet", "fusion=", "preprocess.size=75")
    with pytest.raises(ConfigError, match="feature maps must be equally large"):
        fit(unequal, read_index(data), tmp_path / "run", progress=False, data=data)
    assert not (tmp_path / "run").exists()


def test_a_run_stopped_early_starts_again_from_the_same_weights_only(finished, data, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for name in ("last.pt", "metrics.json"):  # as if it was killed in its first epoch
        (out / name).unlink()
    with pytest.raises(DataError, match="started with different --weights"):
        fit(
            tiny(), read_index(data), out, [finished / "model.safetensors"], resume=True,
            progress=False, data=data,
        )  # fmt: skip


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


@pytest.mark.slow
def test_no_epochs_make_an_ensemble_of_the_weights_given(data, tmp_path):
    records = read_index(data)
    torch.manual_seed(0)
    alone = {name: Ensemble((name,), 2) for name in tiny().backbones}
    files = []
    noise = torch.randint(0, 256, (8, 1, 64, 64), dtype=torch.uint8)
    for name, network in alone.items():
        network.train()(noise)  # a network without statistics of its own would be given some
        files.append(tmp_path / f"{name}.safetensors")
        save_file(network.state_dict(), files[-1])
    recipe = tiny("epochs=0", "warmup_epochs=0", "fusion=0.3,0.7")
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="epochs: 0 evaluates the weights of --weights"):
        fit(recipe, records, out, progress=False, data=data)
    metrics = fit(recipe, records, out, files, progress=False, data=data)
    run = load_run(out)
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    parts = [network.eval()(images) for network in alone.values()]
    with torch.inference_mode():
        assert torch.allclose(run.model(images), 0.3 * parts[0] + 0.7 * parts[1], atol=1e-5)
    assert (metrics.epochs, metrics.best_epoch) == (0, 0)
    assert metrics == run.metrics
