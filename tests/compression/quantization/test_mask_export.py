"""A network with a decoder of masks is one graph that every engine takes, also in INT8 and fp16."""

import platform
import sys

import numpy as np
import onnx
import pytest
import torch

from orthoedge.compression.export import export
from orthoedge.compression.quantization.fp16 import fp16_outputs, to_fp16
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.quantization.onnx_rules import lint
from orthoedge.targets import open_model
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.training.model.ensemble import Ensemble
from tests.compression.test_export import LABELS, SMALL
from tests.helpers.conv_model import parser_warnings

pytestmark = pytest.mark.slow  # the export alone takes a quarter of a minute
needs_rtx = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)


@pytest.fixture(scope="module", params=[32, 16])
def network(request):
    """With maps at 1/32 of the side, and at 1/16 from dilated convolutions."""
    torch.manual_seed(0)
    network = Ensemble(("test_efficientnet",), len(LABELS), output_stride=request.param).eval()
    network.add_decoder(8, 16)
    torch.nn.init.normal_(network.decoder.head.weight, std=20)  # else every probability is 0.01
    return network


@pytest.fixture(scope="module")
def models(network, images):
    fp32 = export(network, LABELS, SMALL)
    return {"fp32": fp32, "int8": quantize(fp32, images), "fp16": to_fp16(fp32)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 1, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_engines_give_the_networks_own_mask(network, models, images, target):
    with torch.no_grad():
        expected = network.explain(torch.from_numpy(images))
    outputs = open_model(models["fp32"], 64, target, "fp32").run(images)
    assert outputs.lesion_mask.shape == (8, 1, 8, 8)
    assert outputs.lesion_mask.dtype == np.float32
    assert expected.lesion_mask.std() > 1e-3
    assert outputs.saliency_map.shape[2] == 64 // network.output_stride
    for name, array in outputs.tensors().items():
        want = getattr(expected, name).numpy()
        # float32 sums in another order
        np.testing.assert_allclose(array, want, atol=1e-4 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_int8_stays_near_the_float_mask(models, images, target):
    exact = open_model(models["fp32"], 64, target, "fp32").run(images)
    rounded = open_model(models["int8"], 64, target, "int8").run(images)
    # Random weights on noise; a wrong scale or a missing layer changes it by whole deviations.
    for name in ("lesion_mask", "saliency_map"):
        off = getattr(rounded, name) - getattr(exact, name)
        assert np.abs(off).mean() < 0.3 * getattr(exact, name).std()


def test_a_later_call_does_not_change_a_mask(models, images):
    engine = open_model(models["fp32"], 64, "x86", "fp32")
    first = engine.run(images[:1]).lesion_mask
    kept = first.copy()
    engine.run(images[1:2])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_no_rule_is_broken(models, precision):
    assert lint(onnx.load_from_string(models[precision]), precision) == []


def test_half_precision_has_the_mask_too(models, images):
    exact = open_model(models["fp32"], 64, "portable", "fp32").run(images).lesion_mask
    outputs = fp16_outputs(models["fp16"], images)
    np.testing.assert_allclose(outputs.lesion_mask, exact, atol=0.02)  # thousandths of a logit


def test_the_last_layer_and_its_sigmoid_are_not_quantized(models):
    graph = onnx.load_from_string(models["int8"]).graph
    (sigmoid,) = [node for node in graph.node if "lesion_mask" in node.output]
    (last,) = [node for node in graph.node if sigmoid.input[0] in node.output]
    assert (sigmoid.op_type, last.op_type) == ("Sigmoid", "Conv")
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert weights[last.input[1]] == onnx.TensorProto.FLOAT


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_tensorrt_takes_it_without_a_warning(models, precision):
    assert parser_warnings(models[precision]) == []


@needs_rtx
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_tensorrt_builds_it_without_a_warning(models, precision):
    plan = build_plan(models[precision], "tensorrt_rtx")
    assert len(plan.data) > 10_000
    assert plan.warnings == ()
