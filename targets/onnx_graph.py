"""Who makes and who reads each tensor of an ONNX graph, and what of it nobody reads."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


class OnnxGraphIndex:
    """Look-ups into a graph by the name of a tensor; made once, not kept up to date."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            self.producer |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.readers[name].append(node)

    def made_by(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if its operator is `kind`."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == kind else None

    def weight_codes(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The integer codes of the weight that a layer reads; None where its weight is float."""
        pair = self.made_by(node.input[1], "DequantizeLinear") if len(node.input) > 1 else None
        return self.constants.get(pair.input[0]) if pair is not None else None


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that no output depends on, and inferred shapes, in place."""
    used = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):  # topologically sorted, so readers come first
        if used & set(node.output):
            kept.append(node)
            used |= set(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)
