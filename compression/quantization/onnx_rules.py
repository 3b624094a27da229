"""Rules for a model file that OpenVINO, TensorRT and ONNX Runtime all run alike.

`int8_cpu` is not for TensorRT and need not keep its rules.

Each rule has a reason in one of the engines: TensorRT's are in `targets/jetson/onnx_rules.py`;
processors without VNNI saturate beyond 7 bits of weight; and head and map stay in float32, so that
decision and explanation agree in every precision.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from orthoedge.runtime.engine import MASK, ModelKey, output_names
from orthoedge.runtime.errors import ModelError
from orthoedge.targets.jetson import onnx_rules as jetson
from orthoedge.targets.onnx_graph import OnnxGraphIndex

INPUT = "image"
OUTPUTS = output_names(has_mask=False)
"""Of every network; some have a lesion mask too."""
OPSET = 18

EXPLAIN = "explain/"
"""Name prefix of head, map and the last layer of a mask: float32 in every precision."""

_LARGEST_CODE = 64
"""Without VNNI, two products are added in 16 bits: 2 × 255 × 64 still fits."""


def explain_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the head and map nodes."""
    return [node.name for node in model.graph.node if node.name.startswith(EXPLAIN)]


def check(model: bytes, key: ModelKey) -> None:
    """Refuse an ONNX file that an engine would refuse or compute differently.

    Raises:
        ModelError: it breaks a rule of `lint` or of ONNX itself.
    """
    try:
        proto = onnx.load_from_string(model)
    except DecodeError as error:
        raise ModelError(f"{key} model: {error}") from error
    if broken := lint(proto, key):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ModelError(f"{key} model: {broken[0]}{more}")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{key} model: {str(error).splitlines()[0]}") from error


def lint(model: onnx.ModelProto, key: ModelKey) -> list[str]:
    """List the rules that a result of `export` breaks, one line each; INT8 adds Q/DQ pairs."""
    if broken := list(_file(model)):
        return broken  # the rules below read the constants
    index = OnnxGraphIndex(model.graph)
    pairs = [node for node in model.graph.node if node.op_type in jetson.QDQ]
    if key in ("int8", "int8_cpu") and not pairs:
        broken.append("the file holds no Q/DQ pair")
    if key in ("fp32", "fp16") and pairs:
        broken.append(f"{pairs[0].name}: quantized values in a float model")
    broken += _floats(model, key)
    broken += _interface(model.graph)
    broken += _order(model.graph)
    broken += _explanation(model, index)
    if key != "int8_cpu":
        broken += jetson.lint(model)
    for node in model.graph.node:
        broken += _seven_bits(node, index)
    return broken


def _file(model: onnx.ModelProto) -> Iterator[str]:
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        yield f"opsets {opsets} where every engine takes ai.onnx {OPSET}"
    if model.functions:
        yield f"{model.functions[0].name}: functions are not supported"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.name}: operator {node.domain}.{node.op_type} is not part of ONNX"
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield f"{tensor.name}: stored in another file"


def _floats(model: onnx.ModelProto, key: ModelKey) -> Iterator[str]:
    """Floats are finite and have the type of the precision; in the head always float32."""
    names = set(explain_nodes(model))
    head = [node for node in model.graph.node if node.name in names]
    read, written = (
        {n for node in head for n in getattr(node, side)} for side in ("input", "output")
    )
    for tensor in model.graph.initializer:
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            continue
        if not np.isfinite(numpy_helper.to_array(tensor)).all():
            yield f"{tensor.name}: values that are not finite"
        half = key == "fp16" and tensor.name not in read
        expected = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        if tensor.data_type != expected:
            name = TensorProto.DataType.Name(expected)
            yield f"{tensor.name}: not {name} in the {key} model"
    for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
        half = value.type.tensor_type.elem_type == TensorProto.FLOAT16
        if half and (key != "fp16" or value.name in written):
            yield f"{value.name}: half precision where float32 is required"


def _interface(graph: onnx.GraphProto) -> Iterator[str]:
    """Interface of every network: uint8 (N, 1, S, S) in; float32 tensors out."""
    shapes: dict[str, list[str | int]] = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    names = tuple(value.name for value in graph.input), tuple(value.name for value in graph.output)
    if names not in (((INPUT,), OUTPUTS), ((INPUT,), (*OUTPUTS, MASK))):
        expected_names = f"{((INPUT,), OUTPUTS)}, perhaps with {MASK}"
        yield f"inputs and outputs {names}, expected {expected_names}"
        return
    for value in (*graph.input, *graph.output):
        expected = TensorProto.UINT8 if value.name == INPUT else TensorProto.FLOAT
        if value.type.tensor_type.elem_type != expected:
            yield f"{value.name}: not {TensorProto.DataType.Name(expected)}"
        batch, *rest = shapes[value.name] or [0]
        if not isinstance(batch, str) or not all(isinstance(d, int) and d > 0 for d in rest):
            yield f"{value.name}: {shapes[value.name]}, expected a free batch and fixed sizes"
    image, logits, maps, features = (shapes[name] for name in (INPUT, *OUTPUTS))
    if len(image) != 4 or image[1] != 1 or image[2] != image[3]:
        yield f"{INPUT}: {image}, expected (N, 1, S, S)"
    if (len(logits), len(maps), len(features)) != (2, 4, 2) or logits[1] != maps[1]:
        yield f"outputs {logits}, {maps}, {features}, expected (N, C), (N, C, h, w), (N, K)"
    if MASK in shapes and (len(shapes[MASK]) != 4 or shapes[MASK][1] != 1):
        yield f"{MASK}: {shapes[MASK]}, expected (N, 1, h, w)"


def _order(graph: onnx.GraphProto) -> Iterator[str]:
    """Nodes follow the nodes they read, and every constant is read."""
    known = {"", *(value.name for value in graph.input), *(t.name for t in graph.initializer)}
    for node in graph.node:
        if missing := [name for name in node.input if name not in known]:
            yield f"{node.name}: reads {missing[0]} before it is made"
        known |= set(node.output)
    read = {name for node in graph.node for name in node.input}
    for tensor in graph.initializer:
        if tensor.name not in read:
            yield f"{tensor.name}: unused constant"


def _explanation(model: onnx.ModelProto, index: OnnxGraphIndex) -> Iterator[str]:
    names = set(explain_nodes(model))
    for output in model.graph.output:
        producer = index.producer.get(output.name)
        if producer is None or producer.name not in names:
            yield f"{output.name}: not computed by the head and map"
    for node in model.graph.node:
        sources = [index.producer.get(name) for name in node.input]
        quantized = any(source is not None and source.op_type in jetson.QDQ for source in sources)
        if node.name in names and (quantized or node.op_type in jetson.QDQ):
            yield f"{node.name}: head or map reads quantized values"


def _seven_bits(node: onnx.NodeProto, index: OnnxGraphIndex) -> Iterator[str]:
    """The weight of a quantized convolution or matrix product fits 7 bits."""
    codes = index.weight_codes(node) if node.op_type in jetson.LAYERS else None
    if codes is None:
        return
    values = numpy_helper.to_array(codes).astype(np.int16)
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    # A depthwise convolution multiplies channel by channel and never adds two products in 16 bits.
    depthwise = node.op_type == "Conv" and codes.dims[1] == 1 and group > 1
    if not depthwise and np.abs(values).max() > _LARGEST_CODE:
        yield f"{node.name}: weights beyond 7 bits, which saturate on processors without VNNI"
