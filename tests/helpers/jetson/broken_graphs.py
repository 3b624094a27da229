"""The phantom bundle's INT8 model with one fault of the file or the graph, quantized or not."""

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper

from tests.helpers.jetson.broken_pairs import change, first, insert, pair, quantized, tensor, value


def double_precision(model):
    first(model, "Cast").attribute[0].i = TensorProto.DOUBLE
    for kind in ("Mul", "Sub"):
        name = first(model, kind).input[1]
        change(model, name, value(model, name).astype(np.float64))
    last = first(model, "Sub")
    after = model.graph.node[list(model.graph.node).index(last) + 1]
    back = helper.make_node("Cast", ["wide"], list(last.output), "back", to=TensorProto.FLOAT)
    last.output[0] = "wide"
    insert(model, after, back)


def output_said_to_be_half(model):
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def input_said_to_be_float(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def other_input_name(model):
    model.graph.input[0].name = first(model, "Cast").input[0] = "input"


def output_of_nobody(model):
    model.graph.output[1].name = "ghost"


def unsorted(model):
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def cycle(model):
    quantize, _ = pair(model)
    insert(model, quantize, helper.make_node("Add", [quantize.input[0], "loop"], ["loop"], "loop"))
    quantize.input[0] = "loop"


def made_twice(model):
    node = NodeProto()
    node.CopyFrom(first(model, "Relu"))
    insert(model, first(model, "Relu"), node)


def unknown_operator(model):
    first(model, "Relu").op_type = "Rectify"


def own_domain(model):
    first(model, "Relu").domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def unknown_attribute(model):
    first(model, "Relu").attribute.add(name="colour", type=AttributeProto.INT, i=1)


def opset(version):
    def spoil(model):
        model.opset_import[0].version = version

    return spoil


def stored_elsewhere(model):
    data = model.graph.initializer[0]
    data.ClearField("raw_data")
    data.data_location = TensorProto.EXTERNAL
    data.external_data.add(key="location", value="weights.bin")


def missing_constant(model):
    model.graph.initializer.remove(tensor(model, quantized(model)[0].input[2]))


def endless_bias(model):
    name = quantized(model)[0].input[2]
    change(model, name, np.full_like(value(model, name), np.inf))
