"""The bundle in the package keeps each rule of a model file, and a file that breaks one is told.

The files are the embedded bundle's own, changed in one place.
"""

import platform
import sys

import numpy as np
import onnx
import pytest
from conv_model import parser_warnings
from onnx import TensorProto, helper, numpy_helper

from orthoedge.compression.quantization.lint import check, lint
from orthoedge.runtime.bundles import EMBEDDED
from orthoedge.runtime.errors import GateFailed


@pytest.fixture(scope="module")
def files():
    return {name: (EMBEDDED / f"model.{name}.onnx").read_bytes() for name in ("fp32", "int8")}


@pytest.fixture
def int8(files):
    return onnx.load_from_string(files["int8"])


@pytest.fixture
def fp32(files):
    return onnx.load_from_string(files["fp32"])


def first(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def change(model, name, value):
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def weight_pair(model, group):
    """The DequantizeLinear of the weight of the first convolution with or without groups."""
    made = {out: node for node in model.graph.node for out in node.output}
    for node in model.graph.node:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type == "Conv" and (groups > 1) == group:
            return made[node.input[1]]
    raise AssertionError("no such convolution")


def fill_weight(model, group, code):
    name = weight_pair(model, group).input[0]
    shape = next(t.dims for t in model.graph.initializer if t.name == name)
    change(model, name, np.full(shape, code, np.int8))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_embedded_models_keep_every_rule(files, precision):
    check(files[precision], precision)


def test_a_broken_file_is_refused_with_its_first_fault(int8):
    for output in int8.graph.output[:2]:
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(GateFailed, match=r"int8 model: logits: not FLOAT \(and 1 more\)"):
        check(int8.SerializeToString(), "int8")


def test_what_onnx_refuses_is_refused(fp32):
    first(fp32, "Conv").attribute.add(name="colour", type=onnx.AttributeProto.INT, i=1)
    with pytest.raises(GateFailed, match="fp32 model: Unrecognized attribute: colour"):
        check(fp32.SerializeToString(), "fp32")


def test_a_float_model_is_no_int8_model_and_the_other_way_round(fp32, int8):
    assert lint(fp32, "int8") == ["the file holds no Q/DQ pair"]
    (line,) = lint(int8, "fp32")
    assert line.endswith("quantized values in a float model")


def unsigned(model):
    change(model, first(model, "QuantizeLinear").input[2], np.uint8(0))


def shifted(model):
    change(model, first(model, "QuantizeLinear").input[2], np.int8(3))


def without_zero(model):
    del first(model, "QuantizeLinear").input[2]


def negative_scale(model):
    change(model, first(model, "QuantizeLinear").input[1], np.float32(-0.1))


def endless_scale(model):
    change(model, first(model, "QuantizeLinear").input[1], np.float32(np.inf))


def two_scales(model):
    node = first(model, "QuantizeLinear")
    change(model, node.input[1], np.full(2, 0.1, np.float32))
    change(model, node.input[2], np.zeros(2, np.int8))


def other_scale_behind(model):
    other = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][3]
    first(model, "DequantizeLinear").input[1] = other.input[1]


def integer_bias(model):
    codes = numpy_helper.from_array(np.zeros(4, np.int32), "bias_codes")
    scale = numpy_helper.from_array(np.float32(0.1), "bias_scale")
    model.graph.initializer.extend([codes, scale])
    pair = helper.make_node("DequantizeLinear", ["bias_codes", "bias_scale"], ["bias"], "bias_dq")
    model.graph.node.insert(0, pair)


def scale_for_all_channels(model):
    pair = weight_pair(model, group=False)
    change(model, pair.input[1], np.float32(0.1))
    change(model, pair.input[2], np.int8(0))


def scale_along_another_axis(model):
    weight_pair(model, group=False).attribute[0].i = 1


def eight_bits(model):
    fill_weight(model, group=False, code=-65)


def quantized_head(model):
    pooling = next(n for n in model.graph.node if n.name.startswith("explain/ReduceMean"))
    pooling.input[0] = first(model, "DequantizeLinear").output[0]


def unmarked_head(model):
    next(n for n in model.graph.node if "logits" in n.output).name = "add"


INT8_FAULTS = {
    unsigned: "UINT8 where TensorRT takes INT8 only",
    shifted: "a zero point other than 0",
    without_zero: "no constant zero point",
    negative_scale: "a scale that is not positive and finite",
    endless_scale: "a scale that is not positive and finite",
    two_scales: "2 scales for an activation, expected one",
    other_scale_behind: "no QuantizeLinear with the same scale before it",
    integer_bias: "bias_dq: a bias in INT32",
    scale_for_all_channels: "expected one weight scale per output channel",
    scale_along_another_axis: "expected one weight scale per output channel",
    eight_bits: "weights beyond 7 bits",
    quantized_head: "head or map reads quantized values",
    unmarked_head: "logits: not made by the head and map",
}


@pytest.mark.parametrize("spoil", INT8_FAULTS, ids=lambda f: f.__name__)
def test_a_fault_of_an_int8_file_is_told(int8, spoil):
    spoil(int8)
    assert any(INT8_FAULTS[spoil] in line for line in lint(int8, "int8"))


def other_opset(model):
    model.opset_import[0].version = 13


def own_operator(model):
    first(model, "Relu").domain = "com.example"


def stored_elsewhere(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def other_name(model):
    model.graph.input[0].name = "input"


def three_channels(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def fixed_batch(model):
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def free_side(model):
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_param = "height"


def fewer_maps(model):
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 2


def without_shape(model):
    model.graph.output[0].type.tensor_type.ClearField("shape")


def unsorted(model):
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def unread(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "forgotten"))


FAULTS = {
    other_opset: "opsets {'ai.onnx': 13}",
    own_operator: "operator com.example.Relu is no part of ONNX",
    stored_elsewhere: "stored in another file",
    other_name: "inputs and outputs (('input',)",
    three_channels: "expected (N, 1, S, S)",
    fixed_batch: "expected a free batch and fixed sizes",
    free_side: "expected a free batch and fixed sizes",
    fewer_maps: "expected (N, C), (N, C, h, w), (N, K)",
    without_shape: "logits: []",
    unsorted: "before it is made",
    unread: "forgotten: a constant that nothing reads",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_of_any_file_is_told(fp32, spoil):
    spoil(fp32)
    assert any(FAULTS[spoil] in line for line in lint(fp32, "fp32"))


def test_depthwise_weights_may_have_eight_bits(int8):
    """They multiply channel by channel, so no two products are added in 16 bits."""
    fill_weight(int8, group=True, code=-127)
    assert lint(int8, "int8") == []


@pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)
def test_tensorrt_warns_of_what_the_lint_calls_unsigned(files, int8):
    assert parser_warnings(files["int8"]) == []
    unsigned(int8)
    assert any("UINT8" in line for line in parser_warnings(int8.SerializeToString()))
