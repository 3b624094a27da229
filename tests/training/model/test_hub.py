"""Pretrained weights: from the hub's cache, and the same outputs as timm's own network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from orthoedge.runtime.errors import DataError
from orthoedge.training.model.ensemble import Branch, Ensemble
from orthoedge.training.model.hub import IMAGENET, WeightsFile, weights_files
from orthoedge.training.model.pixels import normalise
from orthoedge.training.model.weights import load_weights

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, which cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.file_download.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def keep(cache: Path, name: str) -> timm.models.EfficientNet:
    """Put a network with random weights where the hub's library keeps downloads."""
    torch.manual_seed(3)
    network = timm.create_model(name).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    repository = timm.get_pretrained_cfg(name).hf_hub_id.replace("/", "--")
    folder = cache / f"models--{repository}"
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    save_file(network.state_dict(), folder / "snapshots" / REVISION / "model.safetensors")
    return network


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_lite0", "resnet18"])
def test_the_branch_computes_what_timms_network_computes_on_grey_pictures(hub, name):
    theirs = keep(hub, name)
    (file,) = weights_files([Path(IMAGENET)], [name])
    network = Ensemble((name,), 4).eval()
    report = load_weights(network, file)
    assert (report.into, report.revision, report.missed) == (name, REVISION, report.missed)
    assert set(report.missed) == {"branches.0.head.weight", "branches.0.head.bias"}
    assert f"{report.repository} {REVISION[:12]}: " in report.line()
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    scale = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (scale.mean, scale.std))
    branch: Branch = network.branches[0]
    stem = "conv1" if name == "resnet18" else "conv_stem"
    ours_first = branch.backbone.bn1(getattr(branch.backbone, stem)(normalise(images)))
    theirs_first = theirs.bn1(getattr(theirs, stem)((images / 255 - mean) / std))
    # Padding is black's grey for timm and mid-grey for us, which the outermost pixels see.
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours_first[inner], theirs_first[inner], rtol=1e-4, atol=1e-4)


def test_every_backbone_gets_its_own_and_a_file_keeps_the_scale_of_its_name(hub, tmp_path):
    keep(hub, "efficientnet_b0")
    keep(hub, "resnet18")
    files = weights_files([Path(IMAGENET)], ["efficientnet_b0", "resnet18"])
    assert [Path(file.path).parent.name for file in files] == [REVISION] * 2
    network = Ensemble(("resnet18", "efficientnet_b0"), 4)
    reports = [load_weights(network, file) for file in files]
    assert [report.into for report in reports] == ["efficientnet_b0", "resnet18"]
    given = weights_files([tmp_path / "mobilenetv2_100.imagenet.safetensors"], ["resnet18"])
    assert given[0].mean == pytest.approx((0.485, 0.456, 0.406))
    own = weights_files([tmp_path / "model.safetensors"], ["resnet18"])
    assert own == (WeightsFile(tmp_path / "model.safetensors"),)


def test_without_cache_and_network_one_line_says_which_file_to_bring(hub):
    with pytest.raises(DataError) as told:
        weights_files([Path(IMAGENET)], ["rexnet_100"])
    said = str(told.value)
    assert "\n" not in said
    assert str(hub) in said
    assert "huggingface.co/timm/rexnet_100.nav_in1k" in said
    assert "--weights rexnet_100.safetensors" in said


def test_a_backbone_without_pretrained_weights_is_named(hub):
    with pytest.raises(DataError, match="plain_cnn_32: timm has no pretrained weights"):
        weights_files([Path(IMAGENET)], ["plain_cnn_32"])
