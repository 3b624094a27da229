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
from orthoedge.training.segmentation.fit import load_segmentation

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
CHOSEN = {"tumor-compare": "test_convnext2", "resnet50-vgg19": "vgg11_bn/fold1"}


def _settings(values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def test_every_packaged_classifier_but_the_tests_own_goes_the_whole_way_here():
    """`unet-region` has two stages, and a test of its own below."""
    assert set(OWN) == set(recipe_names()) - {"tiny", "unet-region"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
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


OUTLINES = (
    "segmentation.encoder=test_resnet", "segmentation.decoder=16,16,16,16,8",
    "segmentation.size=64", "segmentation.batch=16", "segmentation.epochs=1", "threads=1",
    "warmup_epochs=0", "augment.read_size=0",
)  # fmt: skip


@pytest.mark.slow
def test_a_classifier_behind_a_unet_goes_from_phantoms_to_a_finding(phantoms, tmp_path, capfd):
    unet, out, bundle = (tmp_path / name for name in ("unet", "run", "bundle"))
    given = ["train", "unet-region", "--data", str(phantoms)]
    assert main([*given, "--out", str(unet), *_settings(OUTLINES)]) == 0
    free = (f"compress.gate.{precision}.max_dice_drop=1" for precision in ("fp32", "int8"))
    own = ("backbones=test_efficientnet", "preprocess.size=96", "augment.read_size=0", *free)
    settings = _settings((*QUICK, *own))
    assert main([*given, "--out", str(out), "--outlines", str(unet), *settings]) == 0
    run = load_run(out)
    assert (run.recipe.preprocess.size, run.recipe.region.size) == (64, 96)
    assert run.splits == load_segmentation(unet).splits  # the U-Net has not seen the test images
    assert_unet_is(run.model, unet)

    assert main(["compress", str(out), "--out", str(bundle)]) == 0
    graph = read_bundle(bundle).manifest.graph
    assert (graph.size, graph.region_size, graph.mask_height, graph.map_height) == (64, 96, 16, 4)
    assert main(["verify", str(bundle), "--target", "x86"]) == 0
    assert main(["evaluate", str(out), "--data", str(phantoms), "--allow-seen", "--out",
                 str(tmp_path / "report")]) == 0  # fmt: skip
    assert (tmp_path / "report" / "outlines" / "evaluation.md").is_file()
    assert "of the mask, with the same reach" in (tmp_path / "report/evaluation.md").read_text()

    image = run.splits.test[0].path
    capfd.readouterr()
    assert main(["predict", str(image), "--bundle", str(bundle), "--json"]) == 0
    finding = json.loads(capfd.readouterr().out)
    if finding["decision"] != "reject":
        said = "the whole image was classified" if not finding["lesions"] else "outlined region"
        assert any(said in note for note in finding["notes"])


def assert_unet_is(network, run):
    """The U-Net in front of a classifier is that of its own run, to the bit."""
    for name, tensor in load_segmentation(run).model.state_dict().items():
        assert torch.equal(network.region.unet.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        pytest.param("resnet18", "softmax", marks=pytest.mark.slow),
        pytest.param("resnet50", "softmax", marks=pytest.mark.slow),
        pytest.param("tf_efficientnetv2_s", "softmax", marks=pytest.mark.slow),
        pytest.param("mobilenetv3_small_100", "softmax", marks=pytest.mark.slow),
        pytest.param("convnextv2_femto", "softmax", marks=pytest.mark.slow),
        pytest.param("vgg19_bn", "softmax", marks=pytest.mark.slow),
        pytest.param("plain_cnn_32", "sigmoid", marks=pytest.mark.slow),
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
