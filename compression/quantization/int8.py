"""Quantize to one INT8 file for OpenVINO, TensorRT and ONNX Runtime: signed Q/DQ, zero point 0.

NNCF quantizes; its unsigned pairs are then rewritten, because TensorRT reads a uint8 pair as int8
and clips everything above 127. Weights, except depthwise ones, stay within 7 bits
(`overflow_fix`), because processors without VNNI would saturate and give different outputs.

Activation ranges reach the largest value over all images. NNCF's default is the mean of
the images' largest values, which clips the sums of residual blocks at a third of what they reach:
the logits of the phantom bundle's student were off by 0.17 of their deviation, and are by 0.03 now.
The sums themselves stay in float32. If each block rounded them, differences between engines would
accumulate along the chain of sums: OpenVINO and ONNX Runtime were 0.015 apart, and are 0.007 now.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from orthoedge.compression.quantization.onnx_rules import INPUT, check, explain_nodes
from orthoedge.targets.onnx_graph import drop_unused

RECIPE = (
    "nncf PTQ, PERFORMANCE preset, overflow fix, per-tensor activations of full range, "
    "float sums, signed Q/DQ"
)


def quantize(model: bytes, images: npt.NDArray[np.uint8]) -> bytes:
    """Quantize an exported float32 model after training.

    Args:
        model: result of `export`.
        images: uint8 (n, 1, S, S) training images, preprocessed by the runtime's function; use 300
            or more.

    Returns:
        A checked ONNX file with the same interface; the head and the map are in float32.

    Raises:
        ModelError: the given or the quantized file breaks a rule of an engine.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    check(model, "fp32")
    proto = onnx.load_from_string(model)
    quantized = nncf.quantize(
        proto,
        nncf.Dataset([{INPUT: image[None]} for image in images]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=explain_nodes(proto), types=["Add"]),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_quantization_params=QuantizationParameters(per_channel=False),
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )
    _sign(quantized)
    _avoid_ties(quantized)
    result: bytes = quantized.SerializeToString()
    check(result, "int8")
    return result


def _sign(model: onnx.ModelProto) -> None:
    """Rewrite every uint8 Q/DQ pair with zero point 0 as int8 with scale × 255/127, in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    added: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = constants[node.input[2]]
        if zero.data_type != TensorProto.UINT8:
            continue
        # A scale may be shared with a signed pair, so the new constants get new names. They are
        # part of a file's SHA-256, so they stay as they are.
        scale = constants[node.input[1]]
        signed = (f"{scale.name}_signed", f"{scale.name}_signed_signed_zero")
        if signed[0] not in added:
            values = (numpy_helper.to_array(scale) * np.float32(255 / 127)).astype(np.float32)
            zeros = np.zeros(tuple(zero.dims), np.int8)
            graph.initializer.append(numpy_helper.from_array(values, signed[0]))
            graph.initializer.append(numpy_helper.from_array(zeros, signed[1]))
            added.add(signed[0])
        node.input[1:] = signed
    drop_unused(graph)


def _avoid_ties(model: onnx.ModelProto) -> None:
    """Give the image a scale of 1/127, in place.

    The graph scales pixels to x / 127.5 - 1, and NNCF's scale of about 1/127.5 puts each of them
    half-way between two codes. Engines that order the arithmetic differently then round to
    different sides: on 200 phantoms that caused half of the difference between OpenVINO and ONNX
    Runtime.
    """
    graph = model.graph
    from_image = {INPUT}
    for node in graph.node:  # in topological order
        if node.op_type in ("Cast", "Mul", "Sub", "Div", "Add") and from_image & set(node.input):
            from_image |= set(node.output)
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in from_image:
            continue
        scale = numpy_helper.from_array(np.array(1 / 127, np.float32), f"{node.input[0]}_scale")
        graph.initializer.append(scale)
        for pair in graph.node:
            if pair is node or node.output[0] in pair.input:
                pair.input[1] = scale.name
    drop_unused(graph)
