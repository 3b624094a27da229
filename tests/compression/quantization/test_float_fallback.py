"""Layers fall back to float one by one, the most sensitive first."""

import platform
import sys

import onnx
import pytest

from orthoedge.compression.quantization.float_fallback import layers, restore_float, sensitivity
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.runtime.errors import ModelError
from tests.helpers.conv_model import LAYERS, conv_model, error, parser_warnings, pictures

needs_rtx = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)


@pytest.fixture(scope="module")
def images():
    return pictures(24)


@pytest.fixture(scope="module")
def fp32():
    return conv_model(spread=200)


@pytest.fixture(scope="module")
def int8(fp32, images):
    return quantize(fp32, images)


def graph(model):
    return onnx.load_from_string(model).graph


def nodes(model):
    return {node.name: node.SerializeToString() for node in graph(model).node}


def test_layers_are_the_quantized_ones_in_order(int8, fp32):
    assert layers(int8) == LAYERS
    assert layers(fp32) == ()


def test_the_spoiled_layer_is_named_first_and_wins_the_error_back(int8, fp32, images):
    before = error(int8, fp32, images)
    falls = sensitivity(int8, fp32, images)
    assert sorted(falls) == sorted(LAYERS)
    assert list(falls.values()) == sorted(falls.values(), reverse=True)
    assert next(iter(falls)) == "pointwise"
    after = error(restore_float(int8, fp32, ["pointwise"]), fp32, images)
    assert after < before / 5
    assert falls["pointwise"] == pytest.approx(before - after, rel=1e-3)


def test_a_layer_in_float_reads_no_rounded_value(int8, fp32):
    """The tensor before max pooling is rounded for the residual sum, so the pooling has a twin."""
    got = graph(restore_float(int8, fp32, ["wide"]))
    made = {out: node for node in got.node for out in node.output}
    constants = {tensor.name: tensor.raw_data for tensor in got.initializer}
    original = {tensor.name: tensor.raw_data for tensor in graph(fp32).initializer}
    layer = next(node for node in got.node if node.name == "wide")
    pool = made[layer.input[0]]
    assert pool.op_type == "MaxPool"
    assert made[pool.input[0]].op_type == "Relu"
    assert constants[layer.input[1]] == original["wide.weight"]
    assert constants[layer.input[2]] == original["wide.bias"]


def test_the_rest_keeps_its_bytes(int8, fp32):
    smaller = restore_float(int8, fp32, ["pointwise"])
    before, after = nodes(int8), nodes(smaller)
    gone = before.keys() - after.keys()
    assert {name.split("_")[0] for name in gone} == {"QuantizeLinear", "DequantizeLinear"}
    assert len(gone) == 3  # of its weight, and the pair of an input that nothing else reads
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"pointwise"}
    codes = {t.name: t.SerializeToString() for t in graph(int8).initializer}
    kept = [t for t in graph(smaller).initializer if not t.name.startswith("pointwise")]
    assert all(codes[tensor.name] == tensor.SerializeToString() for tensor in kept)


def test_all_layers_but_one_still_make_an_int8_file(int8, fp32, images):
    model = restore_float(int8, fp32, LAYERS[1:])
    assert layers(model) == LAYERS[:1]
    assert error(model, fp32, images) < error(int8, fp32, images)


def test_a_file_of_float_layers_alone_is_no_int8_file(int8, fp32):
    with pytest.raises(ModelError, match="holds no Q/DQ pair"):
        restore_float(int8, fp32, LAYERS)


def test_a_layer_that_is_none_is_named(int8, fp32):
    with pytest.raises(ValueError, match="explain/map: not a quantized layer"):
        restore_float(int8, fp32, ["wide", "explain/map"])


def test_a_broken_file_does_not_pass(int8, fp32):
    broken = onnx.load_from_string(int8)
    broken.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(ModelError, match="int8 model: logits: not FLOAT"):
        restore_float(broken.SerializeToString(), fp32, ["wide"])


@needs_rtx
@pytest.mark.parametrize("names", [("wide",), ("stem", "pointwise"), LAYERS[1:]])
def test_tensorrt_takes_it_without_a_warning(int8, fp32, names):
    assert parser_warnings(restore_float(int8, fp32, names)) == []
