"""The INT8 file keeps every engine's rules, and its head and map stay in float32."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from orthoedge.compression.int8 import lint
from orthoedge.runtime.bundles import read_bundle


@pytest.fixture(scope="module")
def model(tiny_bundle):
    return onnx.load_from_string(read_bundle(tiny_bundle).model("int8"))


@pytest.fixture
def changed(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def zero_points(model):
    names = {n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    return [tensor for tensor in model.graph.initializer if tensor.name in names]


def test_the_bundle_keeps_the_rules(model):
    assert lint(model) == []
    assert all(tensor.data_type == TensorProto.INT8 for tensor in zero_points(model))


def test_most_convolutions_read_quantized_values(model):
    produced = {out: node.op_type for node in model.graph.node for out in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    quantized = [n for n in convolutions if produced.get(n.input[0]) == "DequantizeLinear"]
    # The 1×1 convolutions of squeeze-and-excite read one value a channel and may stay in float.
    assert len(quantized) >= 0.7 * len(convolutions)


def test_weights_stay_within_seven_bits(model):
    """Otherwise processors without VNNI saturate when they add two products in 16 bits.

    Depthwise convolutions multiply channel by channel, never add such pairs, and keep 8 bits.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    largest = []
    for node in model.graph.node:
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type == "Conv" and node.input[1] in pairs and group == 1:
            stored = numpy_helper.to_array(constants[pairs[node.input[1]].input[0]])
            largest.append(int(np.abs(stored.astype(int)).max()))
    assert len(largest) > 5
    assert max(largest) <= 64


def test_an_unsigned_pair_is_found(changed):
    tensor = zero_points(changed)[0]
    value = numpy_helper.to_array(tensor).astype(np.uint8)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    assert any("UINT8 where TensorRT takes INT8 only" in line for line in lint(changed))


def test_a_zero_point_off_zero_is_found(changed):
    tensor = zero_points(changed)[0]
    value = numpy_helper.to_array(tensor) + np.int8(3)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, np.int8), tensor.name))
    assert any("zero point other than 0" in line for line in lint(changed))


def test_a_float_model_is_no_int8_model(tiny_bundle):
    model = onnx.load_from_string(read_bundle(tiny_bundle).model("fp32"))
    assert lint(model) == ["the file holds no Q/DQ pair"]


def test_a_quantized_head_is_found(changed):
    pooling = next(n for n in changed.graph.node if n.name.startswith("explain/ReduceMean"))
    dequantized = next(n for n in changed.graph.node if n.op_type == "DequantizeLinear")
    pooling.input[0] = dequantized.output[0]
    assert any("head or map reads quantized values" in line for line in lint(changed))
