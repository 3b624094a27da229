"""Every packaged recipe the whole way, and the structures that only one recipe has."""

from __future__ import annotations

import json

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest
import torch

from orthoedge.cli.main import main
from orthoedge.compression.export import export
from orthoedge.compression.prune import cut
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.recipes import recipe_names
from orthoedge.training.run_folder import load_run

# One short epoch each, at 64 pixels, and a gate that lets everything through.
QUICK = (
    "preprocess.size=64", "epochs=1", "lr=2e-3", "threads=1", "warmup_epochs=0",
    "compress.epochs=1", "compress.prune_epochs=1", "compress.quantization_images=16",
    "compress.students=test_efficientnet", "compress.prune=", "compress.float_layers=0",
    *(
        f"compress.gate.{precision}.{limit}"
        for precision in ("fp32", "int8")
        for limit in (
            "max_macro_f1_drop=1", "max_recall_drop={}", "max_pointing_drop=1", "max_ece=1",
            "max_net_flips=1", "max_auc_drop=1", "max_alert_sensitivity_drop=1",
            "min_teacher_cosine=-1", "max_engine_rmse=10", "max_engine_flips=1000",
        )
    ),
)  # fmt: skip
# What makes a recipe what it is stays: two branches, a comparison, folds, one sigmoid, 299 pixels,
# a plain network that is its own student. Only the networks are small.
OWN: dict[str, tuple[str, ...]] = {
    "orthovision": ("backbones=test_efficientnet,test_resnet",),
    "orthovision-resnet18": ("backbones=test_efficientnet,test_resnet",),
    "fracture-binary": ("backbones=test_efficientnet",),
    "real-bones": ("backbones=test_efficientnet", "frozen_stages=1", "augment.read_size=96"),
    "tumor-compare": ("backbones=test_convnext2,test_efficientnet",),
    "resnet50-vgg19": (
        "backbones=vgg11_bn", "split.folds=2",
        "compress.students=vgg11_bn", "compress.prune=0.5",
    ),
    "custom-cnn": (
        "backbones=plain_cnn_8", "compress.students=plain_cnn_8", "compress.prune=0.5",
    ),
    "efficientnet-299": ("backbones=test_efficientnet", "preprocess.size=299"),
}  # fmt: skip
QUICK_RECIPE = "fracture-binary"  # most of what the others do is like it, or like `tiny`
CHOSEN = {"tumor-compare": "test_convnext2", "resnet50-vgg19": "vgg11_bn/fold1"}


def _settings(values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def test_every_packaged_classifier_but_the_tests_own_goes_the_whole_way_here():
    """`unet-region` outlines lesions and has no bundle; tests/training/segmentation trains it."""
    assert set(OWN) == set(recipe_names()) - {"tiny", "unet-region"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == QUICK_RECIPE else pytest.mark.slow) for name in OWN],
)
def test_a_recipe_goes_from_four_class_phantoms_to_a_map(name, phantoms, tmp_path, capfd):
    """Train, compress, bundle, predict with a map: by the command line, as a user."""
    out, bundle = tmp_path / "run", tmp_path / "bundle"
    settings = _settings((*QUICK, *OWN[name]))
    assert main(["train", name, "--data", str(phantoms), "--out", str(out), *settings]) == 0
    recipe = load_recipe(name)
    stderr = capfd.readouterr().err
    assert ("left out" in stderr) == (len(recipe.labels) < 4)
    if name in CHOSEN:
        assert main(["compress", str(out), "--out", str(bundle)]) == 2
        assert "choose one of them" in capfd.readouterr().err
        rows = (out / "comparison.md").read_text().count("\n| ") - 2  # heads and rule
        assert rows == len(load_recipe(name, [OWN[name][0]]).backbones)
        out = out / CHOSEN[name]

    assert main(["compress", str(out), "--out", str(bundle)]) == 0
    run, manifest = load_run(out), read_bundle(bundle).manifest
    assert manifest.labels == recipe.labels
    assert {record.label for record in run.splits.train} == set(recipe.labels)
    # Whether a cut is kept is decided by latency, which a test does not assert.
    assert manifest.lineage.pruned_channels in (0, *run.recipe.compress.prune)
    assert manifest.lineage.teacher == run.recipe.backbones

    image = run.splits.test[0].path
    arguments = ["predict", str(image), "--bundle", str(bundle), "--json"]
    capfd.readouterr()
    assert main([*arguments, "--overlay", str(tmp_path / "maps")]) == 0
    finding = json.loads(capfd.readouterr().out)
    assert sum(finding["probabilities"].values()) == pytest.approx(1, abs=1e-5)  # float32
    pictures = list((tmp_path / "maps").iterdir())
    assert len(pictures) == 2
    assert all(cv2.imread(str(picture)).std() > 1 for picture in pictures)
    size = run.recipe.preprocess.size
    cells = {64: 2, 299: 10}[size]
    if name == "tumor-compare":
        cells = 2
    assert (manifest.graph.map_height, manifest.graph.map_width) == (cells, cells)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("resnet18", "softmax"),
        ("resnet50", "softmax"),
        pytest.param("tf_efficientnetv2_s", "softmax", marks=pytest.mark.slow),
        ("mobilenetv3_small_100", "softmax"),
        ("convnextv2_femto", "softmax"),
        ("vgg19_bn", "softmax"),
        ("plain_cnn_32", "sigmoid"),
    ],
)
def test_a_recipes_own_network_explains_itself_as_an_exported_graph(backbone, head):
    """The other tests export EfficientNet-B0, ReXNet and MobileNetV4 at their true size."""
    torch.manual_seed(0)
    network = Ensemble((backbone,), 2, head=head).eval()
    image = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    model = export(network, ("a", "b"), msgspec.structs.replace(STANDARD, size=64))
    answers = onnxruntime.InferenceSession(model).run(None, {"image": image.numpy()})
    with torch.no_grad():
        wanted = [tensor.numpy() for tensor in network.explain(image) if tensor is not None]
    for got, want in zip(answers, wanted, strict=True):
        assert got.shape == want.shape
        # Rounding of float32 in other kernels, against the size of the values themselves.
        assert np.abs(got - want).max() <= 1e-4 * max(np.abs(want).max(), 1e-6)
    assert wanted[1].shape == (1, 2, 2, 2)


@pytest.mark.parametrize("backbone", ["vgg19_bn", "plain_cnn_32"])
def test_the_students_that_recipes_prune_can_be_cut_in_half(backbone):
    network = Ensemble((backbone,), 2).eval()
    smaller = cut(network, 0.5, 64)
    before, after = (sum(p.numel() for p in n.parameters()) for n in (network, smaller))
    assert after < 0.3 * before  # a weight has two channels: half of both leaves a quarter
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    assert smaller.explain(image).logits.shape == (1, 2)
