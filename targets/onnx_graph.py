"""Producers and readers of each tensor of an ONNX graph, and removal of unused parts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


class OnnxGraphIndex:
    """Index of a graph by the names of tensors; built once, not updated."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            self.producer |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.readers[name].append(node)

    def made_by(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that produces a tensor, if its operator is `kind`."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == kind else None

    def weight_codes(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """Integer codes of a layer's weight; None if the weight is float."""
        pair = self.made_by(node.input[1], "DequantizeLinear") if len(node.input) > 1 else None
        return self.constants.get(pair.input[0]) if pair is not None else None


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that no output depends on, and inferred shapes, in place."""
    used = {output.name for output in graph.output}
    used_nodes = []
    for node in reversed(graph.node):  # topologically sorted, so readers come first
        if used & set(node.output):
            used_nodes.append(node)
            used |= set(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(used_nodes))
    graph.initializer.extend(constants)
