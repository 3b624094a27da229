"""The phantom bundle's INT8 model with one fault of its quantized values."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from orthoedge.targets.onnx_graph import OnnxGraphIndex


def first(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def value(model, name):
    return numpy_helper.to_array(tensor(model, name)).copy()


def tensor(model, name):
    return next(t for t in model.graph.initializer if t.name == name)


def change(model, name, new):
    tensor(model, name).CopyFrom(numpy_helper.from_array(np.asarray(new), name))


def add(model, name, new):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(new), name))
    return name


def insert(model, before, *nodes):
    place = list(model.graph.node).index(before)
    for node in reversed(nodes):
        model.graph.node.insert(place, node)


def pair(model):
    """The Q/DQ pair that the second convolution reads."""
    quantize = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][1]
    return quantize, OnnxGraphIndex(model.graph).readers[quantize.output[0]][0]


def quantized(model, place=1):
    """A convolution and the DequantizeLinear of its weight."""
    wiring = OnnxGraphIndex(model.graph)
    layers = [node for node in model.graph.node if node.op_type == "Conv"]
    layer = [node for node in layers if wiring.weight_codes(node) is not None][place]
    return layer, wiring.producer[layer.input[1]]


def activation(scale=None, zero=None):
    """A change of both ends of one activation's pair."""

    def spoil(model):
        for node in pair(model):
            if scale is not None:
                node.input[1] = "other_scale"
            if zero is not None:
                node.input[2] = "other_zero"
        if scale is not None:
            kind = np.float16 if isinstance(scale, np.float16) else np.float32
            add(model, "other_scale", np.asarray(scale, kind))
        if zero is not None:
            add(model, "other_zero", zero)

    return spoil


def weight_scale(new):
    def spoil(model):
        name = quantized(model)[1].input[1]
        scales = value(model, name)
        scales[0] = new
        change(model, name, scales)

    return spoil


def weight_code(model, code):
    name = quantized(model)[1].input[0]
    change(model, name, np.full_like(value(model, name), code))


def unsigned_weight(model):
    codes, _, zero = quantized(model)[1].input
    change(model, codes, (value(model, codes).astype(np.int16) + 128).astype(np.uint8))
    change(model, zero, np.full(value(model, zero).shape, 128, np.uint8))


def shifted_weight(model):
    zero = quantized(model)[1].input[2]
    change(model, zero, np.ones_like(value(model, zero)))


def integer_bias(model):
    layer, _ = quantized(model)
    codes = add(model, "codes", np.round(value(model, layer.input[2]) * 1e4).astype(np.int32))
    scale = add(model, "step", np.float32(1e-4))
    node = helper.make_node("DequantizeLinear", [codes, scale], ["float_bias"], "bias_pair")
    insert(model, model.graph.node[0], node)
    layer.input[2] = "float_bias"


def without_zeros(model):
    for node in pair(model):
        del node.input[2]


def without_zero(model):
    del pair(model)[0].input[2]


def scale_per_channel(model):
    quantize, dequantize = pair(model)
    count = len(value(model, quantized(model, 0)[1].input[0]))
    add(model, "scales", np.full(count, value(model, quantize.input[1])))
    add(model, "zeros", np.zeros(count, np.int8))
    for node in (quantize, dequantize):
        node.input[1:] = ["scales", "zeros"]


def other_scale_behind(model):
    _, dequantize = pair(model)
    dequantize.input[1] = add(model, "double", value(model, dequantize.input[1]) * 2)


def scale_of_the_image(model):
    quantize, dequantize = pair(model)
    add(model, "axes", np.arange(4))
    add(model, "codes", np.float32(127))
    largest = helper.make_node("ReduceMax", [quantize.input[0], "axes"], ["top"], keepdims=0)
    insert(model, quantize, largest, helper.make_node("Div", ["top", "codes"], ["step"], "step"))
    quantize.input[1] = dequantize.input[1] = "step"


def one_scale_for_a_weight(model):
    _, node = quantized(model)
    add(model, "one_scale", value(model, node.input[1]).max())
    add(model, "one_zero", np.int8(0))
    node.input[1:] = ["one_scale", "one_zero"]


def scale_along_the_input(model):
    _, node = quantized(model, 2)
    count = value(model, node.input[0]).shape[1]
    next(a for a in node.attribute if a.name == "axis").i = 1
    add(model, "scales", np.full(count, 0.01, np.float32))
    add(model, "zeros", np.zeros(count, np.int8))
    node.input[1:] = ["scales", "zeros"]


def cut_weight(model):
    name = quantized(model)[1].input[0]
    change(model, name, value(model, name)[:, :-1])


def cut_scales(model):
    for name in quantized(model)[1].input[1:]:
        change(model, name, value(model, name)[:-1])


def four_bit_weight(model):
    model.opset_import[0].version = 21
    codes, _, zero = quantized(model)[1].input
    for name in (codes, zero):
        data = np.clip(value(model, name) // 8, -8, 7)
        new = helper.make_tensor(name, TensorProto.INT4, data.shape, data.flatten())
        tensor(model, name).CopyFrom(new)


def eight_bit_float(model):
    model.opset_import[0].version = 19
    model.graph.initializer.append(
        helper.make_tensor("float8_zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    )
    for node in pair(model):
        node.input[2] = "float8_zero"


def quantized_head(model):
    pooling = next(n for n in model.graph.node if n.name.startswith("explain/ReduceMean"))
    source = pooling.input[0]
    add(model, "head_scale", np.float32(0.05))
    add(model, "head_zero", np.int8(0))
    ends = [
        helper.make_node("QuantizeLinear", [source, "head_scale", "head_zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "head_scale", "head_zero"], ["dq"], "dq"),
    ]
    insert(model, pooling, *ends)
    for node in model.graph.node:
        if node.name.startswith("explain/"):
            node.input[:] = ["dq" if name == source else name for name in node.input]


def cast_for_quantize(model):
    quantize, _ = pair(model)
    cast = helper.make_node(
        "Cast", quantize.input[:1], list(quantize.output), "cast", to=TensorProto.INT8
    )
    insert(model, quantize, cast)
    model.graph.node.remove(quantize)


def without_dequantize(model):
    quantize, dequantize = pair(model)
    for node in model.graph.node:
        node.input[:] = [
            quantize.output[0] if name == dequantize.output[0] else name for name in node.input
        ]
    model.graph.node.remove(dequantize)


def drop_unread(model):
    """What a change left behind is no second fault."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
