"""Export a network as one ONNX file: uint8 radiograph in; logits, map and features out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings

import msgspec
import onnx
import torch
from torch import Tensor, nn

from orthoedge.compression.quantization.onnx_rules import EXPLAIN, INPUT, OPSET, OUTPUTS
from orthoedge.runtime.engine import MASK, output_names
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.model.ensemble import Ensemble


class _Explained(nn.Module):
    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.model.explain(image).tensors()


def export(model: Ensemble, labels: tuple[str, ...], preprocess: Preprocess) -> bytes:
    """Export a network as float32 ONNX with the common interface.

    Labels and preprocessing go into the metadata, so a model file documents itself.

    Args:
        model: left in eval mode.
        labels: C names, in the order of the logits.
        preprocess: settings that produce the `image` input from a radiograph.

    Returns:
        A checked ONNX file with a free batch size.
    """
    model = model.eval().cpu()
    example = torch.zeros(2, 1, preprocess.size, preprocess.size, dtype=torch.uint8)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The exporter prints progress and warns of its own deprecations; its errors still raise.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Explained(model),
            (example,),
            input_names=[INPUT],
            output_names=list(output_names(model.has_mask)),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    _tidy(graph)
    for name, value in (
        ("orthoedge.labels", json.dumps(labels)),
        ("orthoedge.preprocess", msgspec.json.encode(preprocess).decode()),
    ):
        graph.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString()  # type: ignore[no-any-return]


def _tidy(model: onnx.ModelProto) -> None:
    """Drop the exporter's metadata (it holds paths of this machine) and name head and map nodes."""
    del model.metadata_props[:]
    graph = model.graph
    del graph.metadata_props[:]
    del graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    graph.name = "orthoedge"
    pooling = next(node for node in graph.node if OUTPUTS[2] in node.output)
    downstream = {pooling.input[0]}
    for node in graph.node:  # in topological order
        if downstream & set(node.input):
            downstream |= set(node.output)
            node.name = f"{EXPLAIN}{node.op_type}_{node.output[0]}"
    # The last layer of a mask and its sigmoid stay in float32 like the head, and so does the place
    # of a region, which follows from the mask.
    made = {name: node for node in graph.node for name in node.output}
    last = made.get(MASK)
    while last is not None:
        last.name = f"{EXPLAIN}{last.op_type}_{last.output[0]}"
        last = None if last.op_type == "Conv" else made.get(last.input[0])
    downstream = {MASK}
    for node in graph.node:
        if downstream & set(node.input):
            node.name = f"{EXPLAIN}{node.op_type}_{node.output[0]}"
            downstream |= set() if node.op_type == "GridSample" else set(node.output)
