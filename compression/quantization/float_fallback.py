"""Float fallback: let the most sensitive layers of an INT8 model compute in float32.

The Q/DQ file is edited, and nothing is quantized again: a layer reads its float input and weights,
and every other layer keeps its bytes. So trying one layer costs milliseconds.

NNCF 3.4's `quantize_with_accuracy_control` reverts the same layer of the tests' network, but it
quantizes again (13 s against 0.6 s) and validates its unsigned pairs, not the file that ships.
It compares one number in place of the gate's limits, and fails if that is 0 for the float model.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx

from orthoedge.compression.quantization.onnx_rules import check
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.onnx_graph import OnnxGraphIndex, drop_unused

_PASS_THROUGH = frozenset(
    ("MaxPool", "Relu", "Clip", "Concat", "Slice", "Split", "Pad", "Reshape", "Transpose")
)
"""Operators that commute with quantization; NNCF may put the Q/DQ pair in front of them."""


def layers(int8: bytes) -> tuple[str, ...]:
    """Names of the layers with integer weights, in execution order."""
    graph = onnx.load_from_string(int8).graph
    index = OnnxGraphIndex(graph)
    operators = (node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return tuple(node.name for node in operators if index.weight_codes(node) is not None)


def restore_float(int8: bytes, fp32: bytes, names: Collection[str]) -> bytes:
    """Let some layers of an INT8 model compute in float32.

    Args:
        int8: result of `quantize` on `fp32`.
        fp32: the float model, which provides the layers' weights and biases.
        names: some of `layers(int8)`.

    Returns:
        A checked ONNX file without the Q/DQ pairs that became unused.

    Raises:
        ValueError: a name is not one of `layers(int8)`.
        ModelError: the result breaks a rule of one of the engines.
    """
    if unknown := sorted(set(names) - set(layers(int8))):
        raise ValueError(f"{unknown[0]}: not a quantized layer of this model")
    proto = onnx.load_from_string(int8)
    _restore_float(proto.graph, onnx.load_from_string(fp32).graph, names)
    model: bytes = proto.SerializeToString()
    check(model, "int8")
    return model


def sensitivity(int8: bytes, fp32: bytes, images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Measure how much the INT8 error falls when one layer alone computes in float.

    The error is the root mean square of the logits' difference from the float model's, over their
    standard deviation, in ONNX Runtime.

    Args:
        int8: result of `quantize` on `fp32`.
        fp32: the float model.
        images: uint8 (n, 1, S, S), preprocessed; a few dozen are enough to rank layers.

    Returns:
        Fall of the error per layer, the largest first; negative where errors of layers cancel.
    """
    size = images.shape[-1]
    expected = run_batched(open_model(fp32, size, "portable", "fp32"), images).logits
    full, proto = onnx.load_from_string(fp32).graph, onnx.load_from_string(int8)

    def error(model: bytes) -> float:
        engine = open_model(model, size, "portable", "int8")
        difference = run_batched(engine, images).logits - expected
        return float(np.sqrt((difference**2).mean()) / expected.std())

    before, falls = error(int8), {}
    for name in layers(int8):
        changed = onnx.ModelProto()
        changed.CopyFrom(proto)
        _restore_float(changed.graph, full, (name,))
        falls[name] = before - error(changed.SerializeToString())
    return dict(sorted(falls.items(), key=lambda item: -item[1]))


def _restore_float(graph: onnx.GraphProto, full: onnx.GraphProto, names: Collection[str]) -> None:
    """Let the named layers of `graph` read floats, in place."""
    index = OnnxGraphIndex(graph)
    originals = {node.name: node for node in full.node}
    weights = {tensor.name: tensor for tensor in full.initializer}
    nodes: list[onnx.NodeProto] = []
    created: set[str] = set()
    for node in graph.node:
        if node.name in names:
            source = _float_source(node.input[0], index, nodes, created)
            # The bias too: NNCF corrected it for the error of the integer weights.
            constants = [weights[name] for name in originals[node.name].input[1:]]
            del node.input[:]
            node.input.extend([source, *(_float(tensor.name) for tensor in constants)])
            for tensor in constants:
                if _float(tensor.name) not in created:
                    created.add(_float(tensor.name))
                    graph.initializer.add().CopyFrom(tensor)
                    graph.initializer[-1].name = _float(tensor.name)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)


def _float_source(
    name: str, index: OnnxGraphIndex, nodes: list[onnx.NodeProto], created: set[str]
) -> str:
    """Name of the unrounded tensor behind `name`; duplicates pass-through operators in float."""
    node = index.producer.get(name)
    if node is None:
        return name
    if node.op_type == "DequantizeLinear":
        return str(index.producer[node.input[0]].input[0])
    if node.op_type not in _PASS_THROUGH:
        return name
    sources = [_float_source(source, index, nodes, created) for source in node.input]
    if sources == list(node.input):
        return name
    if _float(name) not in created:
        created |= {_float(output) for output in node.output}
        duplicate = onnx.helper.make_node(
            node.op_type, sources, [_float(output) for output in node.output], _float(node.name)
        )
        duplicate.attribute.extend(node.attribute)
        nodes.append(duplicate)
    return _float(name)


def _float(name: str) -> str:
    return f"{name}_float"
