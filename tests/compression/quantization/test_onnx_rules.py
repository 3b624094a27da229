"""The bundles in the package keep each rule of a model file, and a file that breaks one is refused.

The files are the phantom bundle's own, changed in one place. What other engines say to a broken
file is in tests/targets/jetson/test_broken_models.py, and most rules with it.
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from orthoedge.compression.quantization.onnx_rules import check, lint
from orthoedge.runtime.bundles.bundle import EMBEDDED, PHANTOM
from orthoedge.runtime.errors import ModelError


@pytest.fixture(scope="module")
def files():
    return {name: (PHANTOM / f"model.{name}.onnx").read_bytes() for name in ("fp32", "int8")}


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
@pytest.mark.parametrize("folder", [EMBEDDED, PHANTOM], ids=["default", "phantom"])
def test_the_models_of_the_package_keep_every_rule(folder, precision):
    check((folder / f"model.{precision}.onnx").read_bytes(), precision)


def test_the_file_for_processors_keeps_the_rules_that_concern_it():
    check((EMBEDDED / "model.int8_cpu.onnx").read_bytes(), "int8_cpu")


def test_a_broken_file_is_refused_with_its_first_fault(int8):
    for output in int8.graph.output[:2]:
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(ModelError, match=r"int8 model: logits: not FLOAT \(and 1 more\)"):
        check(int8.SerializeToString(), "int8")


def test_what_onnx_refuses_is_refused(fp32):
    first(fp32, "Conv").attribute.add(name="colour", type=onnx.AttributeProto.INT, i=1)
    with pytest.raises(ModelError, match="fp32 model: Unrecognized attribute: colour"):
        check(fp32.SerializeToString(), "fp32")


def test_a_float_model_is_no_int8_model_and_the_other_way_round(fp32, int8):
    assert lint(fp32, "int8") == ["the file holds no Q/DQ pair"]
    (line,) = lint(int8, "fp32")
    assert line.endswith("quantized values in a float model")


def eight_bits(model):
    fill_weight(model, group=False, code=-65)


def unmarked_head(model):
    next(n for n in model.graph.node if "logits" in n.output).name = "add"


INT8_FAULTS = {
    eight_bits: "weights beyond 7 bits",
    unmarked_head: "logits: not computed by the head and map",
}


@pytest.mark.parametrize("spoil", INT8_FAULTS, ids=lambda f: f.__name__)
def test_a_fault_of_an_int8_file_is_told(int8, spoil):
    spoil(int8)
    assert any(INT8_FAULTS[spoil] in line for line in lint(int8, "int8"))


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


def unread(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "forgotten"))


FAULTS = {
    three_channels: "expected (N, 1, S, S)",
    fixed_batch: "expected a free batch and fixed sizes",
    free_side: "expected a free batch and fixed sizes",
    fewer_maps: "expected (N, C), (N, C, h, w), (N, K)",
    without_shape: "logits: []",
    unread: "forgotten: unused constant",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_of_any_file_is_told(fp32, spoil):
    spoil(fp32)
    assert any(FAULTS[spoil] in line for line in lint(fp32, "fp32"))


def test_depthwise_weights_may_have_eight_bits(int8):
    """They multiply channel by channel, so no two products are added in 16 bits."""
    fill_weight(int8, group=True, code=-127)
    assert lint(int8, "int8") == []
