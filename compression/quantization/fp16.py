"""Convert a network to half precision (fp16), for comparison with INT8 on a GPU.

TensorRT's strongly typed networks take precision from the types in the file ("Strongly Typed
Networks" in NVIDIA's TensorRT developer guide). Two existing converters do not fit this graph: ONNX
Runtime's puts the head and the map into half precision and gives several nodes the same name, and
onnxconverter-common's produces contradicting types.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from orthoedge.compression.quantization.onnx_rules import EXPLAIN, INPUT, check, explain_nodes
from orthoedge.runtime.engine import MASK, Outputs, output_names
from orthoedge.runtime.errors import ModelError
from orthoedge.targets.onnx_graph import drop_unused
from orthoedge.targets.portable.engine import load_onnxruntime

LARGEST = float(np.finfo(np.float16).max)
"""65504, the largest finite half-precision number."""


def to_fp16(model: bytes) -> bytes:
    """Convert the backbone of a result of `export` to half precision.

    Returns:
        A checked ONNX file with the same interface; the head and the map are in float32.

    Raises:
        ModelError: a constant exceeds 65504, or a file breaks a rule of an engine.
    """
    check(model, "fp32")
    proto = onnx.load_from_string(model)
    head, floats = set(explain_nodes(proto)), _floats(proto)
    _halve(proto.graph, head, floats)
    _widen(proto.graph, head, floats)
    drop_unused(proto.graph)
    result: bytes = proto.SerializeToString()
    check(result, "fp16")
    return result


def fp16_outputs(model: bytes, images: npt.NDArray[np.uint8]) -> Outputs:
    """Outputs in half precision, with every tensor of the backbone rounded to it.

    ONNX Runtime's CPU provider computes such a file in float32 and skips the rounding between two
    layers unless the tensor between them is an output. So every such tensor is made an output.

    Args:
        model: result of `to_fp16`.
        images: uint8 (n, 1, S, S), preprocessed.

    Raises:
        ModelError: a tensor overflows on one of the images.
    """
    proto = onnx.load_from_string(model)
    values = onnx.shape_inference.infer_shapes(proto).graph.value_info
    halves = [v for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT16]
    proto.graph.output.extend(halves)
    session = load_onnxruntime().InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    own = output_names(any(output.name == MASK for output in proto.graph.output))
    names = [*(value.name for value in halves), *own]  # in order: reports the first overflow
    outputs = []
    for image in images:  # one at a time, because every activation is an output
        arrays = session.run(names, {INPUT: image[None]})
        for name, array in zip(names, arrays, strict=True):
            if not np.isfinite(array).all():
                raise _overflow(name)
        outputs.append(arrays[-len(own) :])
    return Outputs(*(np.concatenate(parts) for parts in zip(*outputs, strict=True)))


def _floats(proto: onnx.ModelProto) -> set[str]:
    """Names of the float32 tensors."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    computed = {
        v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return computed | {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def _halve(graph: onnx.GraphProto, head: set[str], floats: set[str]) -> None:
    """Convert the backbone to half precision in place; the head keeps its constants."""
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    halves: dict[str, str] = {}
    for node in graph.node:
        if node.name in head:
            continue
        for name in node.input:
            if name in constants and name not in halves:
                halves[name] = f"{name}_half"
                values = numpy_helper.to_array(constants[name])
                if np.abs(values).max(initial=0) > LARGEST:
                    raise _overflow(name)
                half = numpy_helper.from_array(values.astype(np.float16), halves[name])
                graph.initializer.append(half)
        node.input[:] = [halves.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _widen(graph: onnx.GraphProto, head: set[str], floats: set[str]) -> None:
    """Cast the backbone tensors that the head reads to float32, once each, before the head."""
    backbone = {name for node in graph.node if node.name not in head for name in node.output}
    nodes: list[onnx.NodeProto] = []
    wide: dict[str, str] = {}
    for node in graph.node:
        if node.name in head:
            for name in node.input:
                if name in backbone & floats and name not in wide:
                    wide[name] = f"{name}_float"
                    cast = f"{EXPLAIN}Cast_{wide[name]}"
                    to = TensorProto.FLOAT
                    nodes.append(helper.make_node("Cast", [name], [wide[name]], cast, to=to))
            node.input[:] = [wide.get(name, name) for name in node.input]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _overflow(name: str) -> ModelError:
    return ModelError(
        f"fp16 model: {name}: exceeds {LARGEST:.0f}, the largest half-precision number"
    )
