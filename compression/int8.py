"""One INT8 file for OpenVINO, TensorRT and ONNX Runtime: Q/DQ pairs, signed, zero point 0.

NNCF quantizes; its unsigned pairs are then rewritten, because TensorRT reads a uint8 pair as int8
and clips everything above 127. Weights, but for depthwise ones, are kept within 7 bits
(`overflow_fix`), because processors without VNNI saturate otherwise and would answer differently.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from orthoedge.compression.export import INPUT, explain_nodes
from orthoedge.runtime.errors import GateFailed

RECIPE = "nncf PTQ, PERFORMANCE preset, overflow fix, per-tensor activations, signed Q/DQ"


def quantize(model: bytes, images: npt.NDArray[np.uint8]) -> bytes:
    """Quantize an exported float32 model after training.

    Args:
        model: what `export` returned.
        images: uint8 (n, 1, S, S) calibration images, preprocessed by the runtime's own function;
            300 or more are advised.

    Returns:
        A checked ONNX file with the same face; the head and the map are in float32.

    Raises:
        GateFailed: the file breaks a rule that one of the engines needs.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )

    nncf.set_log_level(logging.ERROR)
    proto = onnx.load_from_string(model)
    quantized = nncf.quantize(
        proto,
        nncf.Dataset([{INPUT: image[None]} for image in images]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=explain_nodes(proto)),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_quantization_params=QuantizationParameters(per_channel=False),
        ),
    )
    _sign(quantized)
    if broken := lint(quantized):
        raise GateFailed(f"int8: {broken[0]}")
    onnx.checker.check_model(quantized, full_check=True)
    return quantized.SerializeToString()  # type: ignore[no-any-return]


def _sign(model: onnx.ModelProto) -> None:
    """Rewrite every uint8 Q/DQ pair with zero point 0 as int8 with scale × 255/127, in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    for node in _pairs(graph.node):
        zero = constants[node.input[2]]
        if zero.data_type != TensorProto.UINT8:
            continue
        # A scale may be shared with a signed pair, so the new constants get names of their own.
        for position, suffix in ((1, "_signed"), (2, "_signed_zero")):
            old = node.input[position]
            new = f"{node.input[1]}{suffix}"
            if new not in renamed:
                value = numpy_helper.to_array(constants[old])
                value = (
                    (value * np.float32(255 / 127)).astype(np.float32)
                    if position == 1
                    else np.zeros(value.shape, np.int8)
                )
                graph.initializer.append(numpy_helper.from_array(value, new))
                renamed[new] = old
            node.input[position] = new
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def lint(model: onnx.ModelProto) -> list[str]:
    """Rules of the three engines that a Q/DQ file breaks, one line each; empty if none.

    Signed 8-bit only, zero points of 0, no integer bias, head and map untouched.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    broken = []
    pairs = list(_pairs(model.graph.node))
    if not pairs:
        broken.append("the file holds no Q/DQ pair")
    for node in pairs:
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None:
            broken.append(f"{node.name}: no constant zero point, its type is left to the engine")
            continue
        if zero.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(zero.data_type)
            broken.append(f"{node.name}: {kind} where TensorRT takes INT8 only")
        elif np.any(numpy_helper.to_array(zero)):
            broken.append(f"{node.name}: a zero point other than 0")
    explain = {node.name for node in model.graph.node if node.name in set(explain_nodes(model))}
    produced = {out: node for node in model.graph.node for out in node.output}
    for node in model.graph.node:
        if node.name in explain:
            for name in node.input:
                source = produced.get(name)
                if source and source.op_type == "DequantizeLinear":
                    broken.append(f"{node.name}: head or map reads quantized values")
    return broken


def _pairs(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    return (node for node in nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear"))
