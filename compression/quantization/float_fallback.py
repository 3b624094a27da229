"""Layers of an INT8 model that go back to float, and which of them are worth it.

Nothing is quantized anew: a layer reads its float input and float weight again, and every other
layer keeps its bytes. So trying one costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx

from orthoedge.compression.quantization.onnx_rules import check
from orthoedge.runtime.engine import Precision
from orthoedge.targets import open_model
from orthoedge.targets.onnx_graph import OnnxGraphIndex, drop_unused

_PASSING = ("MaxPool", "Relu", "Clip", "Concat", "Slice", "Split", "Pad", "Reshape", "Transpose")
"""Operators that NNCF quantizes ahead of instead of behind: the same on codes and on floats."""

_BATCH = 32
"""Images at a time: the activations of a few hundred would not fit a small machine's memory."""


def layers(int8: bytes) -> tuple[str, ...]:
    """Names of the layers with integer weights, in the order in which they run."""
    return _layers(onnx.load_from_string(int8).graph)


def retreat(int8: bytes, fp32: bytes, names: Collection[str]) -> bytes:
    """Let some layers of an INT8 model compute in float32 again.

    Args:
        int8: what `quantize` made of `fp32`.
        fp32: the float model, whose weights and biases the layers take.
        names: some of `layers(int8)`.

    Returns:
        A checked ONNX file; Q/DQ pairs that nothing reads any more are gone from it.

    Raises:
        ValueError: a name is not one of `layers(int8)`.
        ModelError: what is left breaks a rule of one of the engines.
    """
    proto = onnx.load_from_string(int8)
    if unknown := sorted(set(names) - set(_layers(proto.graph))):
        raise ValueError(f"{unknown[0]}: no quantized layer of this model")
    _retreat(proto.graph, onnx.load_from_string(fp32).graph, names)
    model: bytes = proto.SerializeToString()
    check(model, "int8")
    return model


def sensitivity(int8: bytes, fp32: bytes, images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """How much of the INT8 error each layer causes: what falls away when it alone is float.

    The error is the root mean square of the logits' difference from the float model's, over their
    standard deviation, in ONNX Runtime.

    Args:
        int8: what `quantize` made of `fp32`.
        fp32: the float model.
        images: uint8 (n, 1, S, S), preprocessed; some dozens are enough to rank layers.

    Returns:
        The fall per layer, the largest first; negative where the errors of two layers cancel.
    """
    expected = _logits(fp32, images, "fp32")
    full, proto = onnx.load_from_string(fp32).graph, onnx.load_from_string(int8)

    def error(model: bytes) -> float:
        difference = _logits(model, images, "int8") - expected
        return float(np.sqrt((difference**2).mean()) / expected.std())

    before, falls = error(int8), {}
    for name in _layers(proto.graph):
        trial = onnx.ModelProto()
        trial.CopyFrom(proto)
        _retreat(trial.graph, full, (name,))
        falls[name] = before - error(trial.SerializeToString())
    return dict(sorted(falls.items(), key=lambda item: -item[1]))


def _layers(graph: onnx.GraphProto) -> tuple[str, ...]:
    wiring = OnnxGraphIndex(graph)
    kinds = ("Conv", "Gemm", "MatMul")
    found = (node for node in graph.node if node.op_type in kinds)
    return tuple(node.name for node in found if wiring.weight_codes(node) is not None)


def _retreat(graph: onnx.GraphProto, full: onnx.GraphProto, names: Collection[str]) -> None:
    """Let the named layers of `graph` read floats, in place."""
    wiring = OnnxGraphIndex(graph)
    originals = {node.name: node for node in full.node}
    weights = {tensor.name: tensor for tensor in full.initializer}
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()
    for node in graph.node:
        if node.name in names:
            source = _float_source(node.input[0], wiring, nodes, made)
            # The bias too: NNCF corrected it for the error of the weights that leave.
            constants = [weights[name] for name in originals[node.name].input[1:]]
            del node.input[:]
            node.input.extend([source, *(_float(tensor.name) for tensor in constants)])
            for tensor in constants:
                if _float(tensor.name) not in made:
                    made.add(_float(tensor.name))
                    graph.initializer.add().CopyFrom(tensor)
                    graph.initializer[-1].name = _float(tensor.name)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)


def _float_source(
    name: str, wiring: OnnxGraphIndex, nodes: list[onnx.NodeProto], made: set[str]
) -> str:
    """The tensor that was rounded to make `name`; passing operators on the way get a twin."""
    node = wiring.producer.get(name)
    if node is None:
        return name
    if node.op_type == "DequantizeLinear":
        return str(wiring.producer[node.input[0]].input[0])
    if node.op_type not in _PASSING:
        return name
    sources = [_float_source(source, wiring, nodes, made) for source in node.input]
    if sources == list(node.input):
        return name
    if _float(name) not in made:
        made |= {_float(output) for output in node.output}
        twin = onnx.helper.make_node(
            node.op_type, sources, [_float(output) for output in node.output], _float(node.name)
        )
        twin.attribute.extend(node.attribute)
        nodes.append(twin)
    return _float(name)


def _float(name: str) -> str:
    return f"{name}_float"


def _logits(
    model: bytes, images: npt.NDArray[np.uint8], precision: Precision
) -> npt.NDArray[np.float32]:
    """(n, C) of the reference engine."""
    engine = open_model(model, images.shape[-1], "portable", precision)
    parts = range(0, len(images), _BATCH)
    return np.concatenate([engine.run(images[i : i + _BATCH]).logits for i in parts])
