"""U-Net, crop and classifier are one graph, which every engine takes and computes alike."""

import platform
import sys

import numpy as np
import onnx
import pytest
import torch

from orthoedge.compression.export import export
from orthoedge.compression.quantization.float_fallback import layers
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.quantization.onnx_rules import lint
from orthoedge.targets import open_model
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.region import Region, cut, put_back, region_of
from orthoedge.training.model.unet import UNet
from tests.compression.test_export import LABELS, SMALL
from tests.helpers.conv_model import parser_warnings

pytestmark = pytest.mark.slow  # recipes that train it are slow too

needs_rtx = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    unet = UNet("test_resnet", (16, 16, 16, 16, 8)).eval()
    torch.nn.init.normal_(unet.unet.get_parameter("segmentation_head.0.weight"), std=3)
    torch.nn.init.constant_(unet.unet.get_parameter("segmentation_head.0.bias"), 0)
    network = Ensemble(("test_efficientnet",), len(LABELS)).eval()
    network.region = Region(unet, 96)
    return network


@pytest.fixture(scope="module")
def models(network, images):
    fp32 = export(network, LABELS, SMALL)
    return {"fp32": fp32, "int8": quantize(fp32, images)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 1, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_engines_give_the_networks_own_outputs(network, models, images, target):
    with torch.inference_mode():
        expected = network.explain(torch.from_numpy(images))
    outputs = open_model(models["fp32"], 64, target, "fp32").run(images)
    assert outputs.lesion_mask.shape == (4, 1, 16, 16)
    for name, array in outputs.tensors().items():
        want = getattr(expected, name).numpy()
        # float32 sums in another order move the region, too: relative to the tensor's own scale
        np.testing.assert_allclose(array, want, atol=1e-3 * np.abs(want).max(), err_msg=name)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_rule_is_broken(models, precision):
    assert lint(onnx.load_from_string(models[precision]), precision) == []


def test_unet_and_classifier_are_in_integers_and_the_place_of_the_region_in_float(models):
    proto = onnx.load_from_string(models["int8"])
    made = {name: node for node in proto.graph.node for name in node.output}
    kernels = {
        node.name: next(a.ints for a in node.attribute if a.name == "kernel_shape")
        for node in proto.graph.node
        if node.op_type == "Conv" and not node.name.startswith("explain/")
    }
    wide = {name for name, kernel in kernels.items() if list(kernel) != [1, 1]}
    assert len(wide) > 20
    assert wide <= set(layers(models["int8"]))
    (first, _) = [node for node in proto.graph.node if node.op_type == "GridSample"]
    before, waiting = set(), [first.input[1]]
    while waiting:
        node = made.get(waiting.pop())
        if node is None or node.name in before or node.op_type == "Conv":
            continue
        before.add(node.name)
        waiting += node.input
        assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")
    assert len(before) > 10


@needs_rtx
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tensorrt_parses_and_builds_it_without_a_warning(models, precision):
    assert parser_warnings(models[precision]) == []
    assert build_plan(models[precision], "tensorrt_rtx").warnings == ()


def disc(x, y, radius, side=64):
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (((columns - x) ** 2 + (rows - y) ** 2) <= radius**2).float()[None, None]


def test_the_region_holds_the_outlined_disc_and_little_more():
    centre, half = region_of(disc(20, 40, 9))
    middle, reach = (centre[0] + 1) * 32 - 0.5, float(half) * 32
    assert torch.allclose(middle, torch.tensor([20.0, 40.0]), atol=0.5)
    assert 9 < reach < 15


def test_an_empty_mask_gives_the_whole_image_unchanged():
    centre, half = region_of(torch.full((1, 1, 64, 64), 0.2))
    assert centre.tolist() == [[0, 0]]
    assert half.tolist() == [[1]]
    x = torch.rand(1, 1, 64, 64) * 2 - 1
    steps = (2 * torch.arange(64) + 1) / 64 - 1
    assert torch.allclose(cut(x, centre, half, steps), x, atol=1e-5)


def test_a_region_at_the_edge_stays_inside():
    centre, half = region_of(disc(2, 61, 6))
    assert float((centre.abs() + half).max()) <= 1 + 1e-6


def test_what_is_cut_is_what_lies_there_and_the_map_goes_back_to_it():
    x = torch.full((1, 1, 64, 64), -1.0)
    x[0, 0, 40, 20] = 1
    centre, half = region_of(disc(20, 40, 9))
    steps = (2 * torch.arange(65) + 1) / 65 - 1
    seen = cut(x, centre, half, steps)[0, 0]
    assert divmod(int(seen.argmax()), 65) == (32, 32)
    back = put_back(torch.ones(1, 1, 5, 5), centre, half, 64)[0, 0]
    inside = back > 0.5
    rows, columns = torch.nonzero(inside, as_tuple=True)
    assert abs(float(rows.float().mean()) - 40) < 1
    assert abs(float(columns.float().mean()) - 20) < 1
    assert float(inside.float().mean()) == pytest.approx(float(half) ** 2, rel=0.2)
