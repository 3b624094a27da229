"""Check an ONNX graph against TensorRT's rules for quantized values, without TensorRT.

Sources: "Working with Quantized Types" in NVIDIA's TensorRT developer guide (signed codes, zero
point 0, one scale per tensor for activations, one per output channel for weights) and the
messages of TensorRT-RTX's parser and builder for the files in
tests/targets/jetson/test_broken_models.py. Some violations they accept silently and compute
something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from orthoedge.targets.onnx_graph import OnnxGraphIndex

if TYPE_CHECKING:
    import onnx

QDQ = ("QuantizeLinear", "DequantizeLinear")
LAYERS = ("Conv", "Gemm", "MatMul")


def lint(model: onnx.ModelProto) -> list[str]:
    """Describe what TensorRT refuses or reads differently from ONNX; one line each.

    Args:
        model: constants in the file itself, and no functions or operators of its own.
    """
    import onnx

    index = OnnxGraphIndex(model.graph)
    # With sizes that the graph computes, such as those of a U-Net's upsampling.
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    violations: list[str] = []
    for node in model.graph.node:
        if node.op_type in QDQ:
            violations += _pair(node, index)
        if node.op_type in LAYERS:
            violations += _scales(node, index)
    violations += _types(inferred)
    violations += _kernels(inferred, index)
    return violations


def _types(inferred: onnx.GraphProto) -> Iterator[str]:
    """Types that TensorRT does not have, or reads as a different type: double becomes float."""
    from onnx import TensorProto

    known = (
        *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8),
        *(TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL),
    )
    tensors = [(value.name, value.type.tensor_type.elem_type) for value in inferred.value_info]
    tensors += [(tensor.name, tensor.data_type) for tensor in inferred.initializer]
    for name, kind in tensors:
        if kind not in known:
            yield f"{name}: {TensorProto.DataType.Name(kind)}, in which TensorRT does not compute"


def _pair(node: onnx.NodeProto, index: OnnxGraphIndex) -> Iterator[str]:
    """Rules of one QuantizeLinear or DequantizeLinear."""
    from onnx import TensorProto, numpy_helper

    codes, constants = index.constants.get(node.input[0]), index.constants
    if codes is not None and codes.data_type == TensorProto.INT32:
        yield f"{node.name}: a bias in INT32, which TensorRT refuses"
        return
    scale, zero = (constants.get(name) for name in (*node.input[1:], "", "")[:2])
    if scale is None or zero is None:
        what = "scale" if scale is None else "zero point, its type is left to the engine"
        yield f"{node.name}: no constant {what}"
        return
    for tensor in (zero, codes):
        if tensor is not None and tensor.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(tensor.data_type)
            yield f"{node.name}: {kind} where TensorRT takes INT8 only"
    if scale.data_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(scale.data_type)
        yield f"{node.name}: a scale of {kind}, expected FLOAT"
    if np.any(numpy_helper.to_array(zero)):
        yield f"{node.name}: a zero point other than 0"
    steps = numpy_helper.to_array(scale)
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        yield f"{node.name}: a scale that is not positive and finite"
    if codes is None and steps.size != 1:
        yield f"{node.name}: {steps.size} scales for an activation, expected one"
    if node.op_type == "DequantizeLinear" and codes is None:
        maker = index.made_by(node.input[0], "QuantizeLinear")
        if maker is None or maker.input[1:] != node.input[1:]:
            yield f"{node.name}: no QuantizeLinear with the same scale before it"


def _scales(node: onnx.NodeProto, index: OnnxGraphIndex) -> Iterator[str]:
    """A quantized layer's weight has one scale per output channel."""
    codes = index.weight_codes(node)
    if codes is None:
        return
    pair = index.producer[node.input[1]]
    axis: int = next((a.i for a in (*node.attribute, *pair.attribute) if a.name == "axis"), 1)
    scale = index.constants.get(pair.input[1])
    per_channel = (
        scale is not None and axis < len(codes.dims) and list(scale.dims) == [codes.dims[axis]]
    )
    if not per_channel or (node.op_type == "Conv" and axis != 0):
        yield f"{node.name}: expected one weight scale per output channel"


def _kernels(inferred: onnx.GraphProto, index: OnnxGraphIndex) -> Iterator[str]:
    """A convolution's weight must fit its input, which ONNX's own checker does not check."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in inferred.value_info
    }
    for node in inferred.node:
        if node.op_type != "Conv":
            continue
        weight = index.weight_codes(node) or index.constants.get(node.input[1])
        dims = [] if weight is None else list(weight.dims)
        source = shapes.get(node.input[0], [])  # unknown after an operator unknown to ONNX
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        if len(source) > 1 and (len(dims) < 2 or dims[1] * group != source[1]):
            yield f"{node.name}: a weight of {dims} in {group} groups on an input of {source}"
