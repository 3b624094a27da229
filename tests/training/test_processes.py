"""Several processes train as one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn

from orthoedge.training.data.index import read_index
from orthoedge.training.fit import fit
from orthoedge.training.model.batch_norm import share_batch_norms
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.step import neighbours

ROOT = Path(__file__).parents[2]
# Labels in the ratio 1 to 2, weighed and not drawn evenly: each share has another sum of weights.
SETTINGS = (
    "labels=plain,spot", "compress.alert_labels=spot", "batch=8", "epochs=2", "dropout=0",
    "balanced=false", "preprocess.size=48", "gradient_clip=1", "ema=0.9", "mixup=0.2",
    "precision=32-true",
)  # fmt: skip
# `-m orthoedge.cli.main` in an installed project; this works in a bare checkout too.
COMMAND = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import conftest
from orthoedge.cli.main import main
sys.exit(main())
"""


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "command.py"
    script.write_text(COMMAND)
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            str(script), *arguments,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )  # fmt: skip


def losses(run: Path) -> list[float]:
    with (run / "log.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.fixture
def uneven(spot_images, tmp_path):
    rows = (spot_images / "index.csv").read_text().splitlines()
    kept = [row for i, row in enumerate(rows[1:]) if i % 2 or i % 4 == 0][:72]
    index = spot_images / "uneven.csv"
    index.write_text("\n".join((rows[0], *kept)) + "\n")
    return index


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(uneven, tmp_path):
    settings = [text for setting in SETTINGS for text in ("--set", setting)]
    two = tmp_path / "two"
    done = torchrun(tmp_path, "train", "tiny", "--data", str(uneven), "--out", str(two), *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("epoch 1/2") == 1, "only one process speaks"
    one = tmp_path / "one"
    fit(load_recipe("tiny", SETTINGS), read_index(uneven), one, progress=False, data=uneven.parent)
    assert len(losses(two)) == 2
    # Sums in another order, through two epochs of Adam: the promise is a thousandth.
    assert losses(two) == pytest.approx(losses(one), abs=1e-3)
    assert (
        load_file(two / "model.safetensors").keys() == load_file(one / "model.safetensors").keys()
    )


@pytest.mark.slow
def test_a_failure_of_the_first_process_ends_all(uneven, tmp_path):
    uneven.with_name("bad.csv").write_text(uneven.read_text() + "text.png,spot,x,\n")
    (uneven.parent / "text.png").write_text("no image")
    done = torchrun(
        tmp_path, "train", "tiny", "--data", str(uneven.with_name("bad.csv")),
        "--out", str(tmp_path / "run"), "--set", SETTINGS[0], "--set", SETTINGS[1],
    )  # fmt: skip
    assert done.returncode != 0
    assert "text.png: not an image" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_shared_batch_norm_in_one_process_is_the_librarys(tmp_path):
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    plain, shared = (
        nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1), BatchNormAct2d(4))
        for _ in range(2)
    )
    shared.load_state_dict(plain.state_dict())
    share_batch_norms(shared)
    x = torch.randn(5, 1, 9, 9) * 3 + 40
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        for network in (plain, shared):
            network(x).square().mean().backward()
    finally:
        distributed.destroy_process_group()
    # Rounding of float32, after a division by a deviation of about 1.
    for (name, mine), theirs in zip(shared.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5), name
    assert shared.state_dict().keys() == plain.state_dict().keys()
    for name, buffer in plain.named_buffers():
        assert torch.allclose(shared.get_buffer(name), buffer, atol=1e-5), name
    assert torch.allclose(shared.eval()(x), plain.eval()(x), atol=1e-5)


def test_mixup_pairs_neighbours_so_that_a_share_mixes_as_the_whole():
    assert neighbours(6).tolist() == [1, 0, 3, 2, 5, 4]
    assert neighbours(3).tolist() == [1, 0, 2]
