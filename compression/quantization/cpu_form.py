"""The form of an INT8 file in which CPU engines are fastest: unsigned codes, also in the sums.

A tensor that is never negative takes all 256 codes with zero point 0, in place of the 128 that
TensorRT's signed pairs leave it; every other tensor moves by 128. The codes of a layer's weights
stay as they are. Biases are rounded to the accumulator's step, and sums to 8 bits: ONNX Runtime
computes a layer in integers only if all of it is.

All tensors of a chain of sums share one step. Then a sum of codes is exact, so that it does not
matter whether an engine rounds the addend before it adds, as ONNX Runtime does, or only the sum, as
OpenVINO may.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from orthoedge.compression.quantization.onnx_rules import EXPLAIN, INPUT, check
from orthoedge.targets.onnx_graph import OnnxGraphIndex, drop_unused
from orthoedge.targets.portable.engine import load_onnxruntime

_NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid")
_PASS_THROUGH = (
    *("MaxPool", "AveragePool", "Concat", "Slice", "Split", "Reshape", "Transpose"),
    *("QuantizeLinear", "DequantizeLinear"),
)
_CODES = 255
_LARGEST_BIAS = 2**31 - 1


def for_cpus(int8: bytes, fp32: bytes, images: npt.NDArray[np.uint8]) -> bytes:
    """Rewrite an INT8 file for CPU engines; TensorRT refuses the result.

    Args:
        int8: result of `quantize` or `restore_float`.
        fp32: the float model that it was made from.
        images: uint8 (n, 1, S, S), those that set the ranges of `int8`.

    Returns:
        A checked ONNX file with the same interface.

    Raises:
        ModelError: the result breaks a rule of the engines.
    """
    proto = onnx.load_from_string(int8)
    chains = _chains(proto.graph)
    ranges = _ranges(fp32, sorted(set().union(*chains)), images) if chains else {}
    _unsigned(proto.graph)
    for chain in chains:
        _share_step(proto.graph, {name: ranges[name] for name in sorted(chain)})
    _round_biases(proto.graph)
    drop_unused(proto.graph)
    result: bytes = proto.SerializeToString()
    check(result, "int8_cpu")
    return result


def _unsigned(graph: onnx.GraphProto) -> None:
    """Turn the signed codes of every activation into unsigned ones, in place."""
    index = OnnxGraphIndex(graph)
    for quantizer in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        step = numpy_helper.to_array(index.constants[quantizer.input[1]])
        zero = 128
        if _is_never_negative(quantizer.input[0], index):
            step, zero = step * np.float32(127 / _CODES), 0
        _set_codes(graph, quantizer, index, step, zero)


def _is_never_negative(name: str, index: OnnxGraphIndex) -> bool:
    node = index.producer.get(name)
    if node is None:
        return False
    if node.op_type == "Clip":
        least = index.constants.get(node.input[1]) if len(node.input) > 1 else None
        return least is not None and bool(numpy_helper.to_array(least) >= 0)
    if node.op_type in _PASS_THROUGH:
        inputs = node.input if node.op_type == "Concat" else node.input[:1]
        return all(_is_never_negative(source, index) for source in inputs)
    return node.op_type in _NOT_NEGATIVE


def _set_codes(
    graph: onnx.GraphProto,
    quantizer: onnx.NodeProto,
    index: OnnxGraphIndex,
    step: npt.ArrayLike,
    zero: int,
) -> None:
    """Give a Q/DQ pair another step and an unsigned zero point, in place."""
    names = _add_constants(graph, quantizer.output[0], step, np.uint8(zero))
    for node in (quantizer, *index.readers[quantizer.output[0]]):
        node.input[1:] = names


def _add_constants(
    graph: onnx.GraphProto, name: str, step: npt.ArrayLike, zero: npt.ArrayLike
) -> tuple[str, str]:
    """Append scale and zero point of a tensor, replacing those of an earlier call; their names."""
    names = f"{name}_cpu_scale", f"{name}_cpu_zero"
    for constant, value in zip(names, (np.asarray(step, np.float32), zero), strict=True):
        tensor = numpy_helper.from_array(np.asarray(value), constant)
        earlier = next((t for t in graph.initializer if t.name == constant), None)
        (earlier or graph.initializer.add()).CopyFrom(tensor)
    return names


def _sums(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The additions of two activations outside head and map."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node
        for node in graph.node
        if node.op_type == "Add"
        and not node.name.startswith(EXPLAIN)
        and not constants & set(node.input)
    ]


def _chains(graph: onnx.GraphProto) -> list[set[str]]:
    """Names of the float tensors that sums connect, one set for each chain."""
    index = OnnxGraphIndex(graph)
    chains: list[set[str]] = []
    for node in _sums(graph):
        tensors = {_unrounded(name, index) for name in (*node.input, _result(node, index))}
        connected = [chain for chain in chains if chain & tensors]
        chains = [chain for chain in chains if not chain & tensors]
        chains.append(tensors.union(*connected))
    return chains


def _unrounded(name: str, index: OnnxGraphIndex) -> str:
    """Name of the float tensor that a Q/DQ pair rounds to `name`."""
    pair = index.made_by(name, "DequantizeLinear")
    maker = None if pair is None else index.made_by(pair.input[0], "QuantizeLinear")
    return name if maker is None else str(maker.input[0])


def _result(sum_: onnx.NodeProto, index: OnnxGraphIndex) -> str:
    """Name of a sum, or of what an activation function that alone reads it makes of it."""
    readers = index.readers[sum_.output[0]]
    if len(readers) == 1 and readers[0].op_type in ("Relu", "Clip"):
        return str(readers[0].output[0])
    return str(sum_.output[0])


def _ranges(
    fp32: bytes, names: Iterable[str], images: npt.NDArray[np.uint8]
) -> dict[str, tuple[float, float]]:
    """Least and largest value of tensors of the float model over all images, 0 included."""
    proto, names = onnx.load_from_string(fp32), list(names)
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = load_onnxruntime().InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for image in images:  # one at a time, because every tensor is an output
        for name, array in zip(names, session.run(names, {INPUT: image[None]}), strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
    return ranges


def _share_step(graph: onnx.GraphProto, ranges: dict[str, tuple[float, float]]) -> None:
    """Round the tensors of a chain of sums with one step, in place; their sums read the codes."""
    step = np.float32(max(high - low for low, high in ranges.values()) / _CODES or 1)
    index, inserted = OnnxGraphIndex(graph), dict[str, list[onnx.NodeProto]]()
    for name, (low, _) in ranges.items():
        zero = int(np.clip(np.rint(-low / step), 0, _CODES))
        quantizers = [n for n in index.readers[name] if n.op_type == "QuantizeLinear"]
        for quantizer in quantizers:
            _set_codes(graph, quantizer, index, step, zero)
        if not quantizers:
            constants = _add_constants(graph, name, step, np.uint8(zero))
            codes, rounded = f"{name}_codes", f"{name}_rounded"
            inserted[name] = [
                helper.make_node("QuantizeLinear", [name, *constants], [codes], f"Q_{name}"),
                helper.make_node("DequantizeLinear", [codes, *constants], [rounded], f"DQ_{name}"),
            ]
        else:
            (pair, *_) = index.readers[quantizers[0].output[0]]
            rounded = pair.output[0]
        for node in _sums(graph):
            node.input[:] = [rounded if source == name else source for source in node.input]
    _insert(graph, inserted)


def _round_biases(graph: onnx.GraphProto) -> None:
    """Round the bias of each quantized convolution to input step times weight step, in place."""
    index = OnnxGraphIndex(graph)
    inserted: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        source = index.made_by(node.input[0], "DequantizeLinear") if node.input else None
        quantized = node.op_type == "Conv" and index.weight_codes(node) is not None
        if not quantized or source is None or len(node.input) < 3:
            continue
        bias = numpy_helper.to_array(index.constants[node.input[2]])
        steps = (
            numpy_helper.to_array(index.constants[pair.input[1]])
            for pair in (source, index.producer[node.input[1]])
        )
        step = np.prod(np.broadcast_arrays(*steps), axis=0, dtype=np.float32)
        codes = np.rint(bias.astype(np.float64) / step)
        if np.abs(codes).max() > _LARGEST_BIAS:
            continue
        name = f"{node.name}_bias"
        constants = _add_constants(graph, name, step, np.zeros(step.shape, np.int32))
        graph.initializer.append(numpy_helper.from_array(codes.astype(np.int32), name))
        inserted[node.output[0]] = [
            helper.make_node(
                "DequantizeLinear", [name, *constants], [f"{name}_rounded"], f"DQ_{name}", axis=0
            )
        ]
        node.input[2] = f"{name}_rounded"
    _insert(graph, inserted, before=True)


def _insert(
    graph: onnx.GraphProto, inserted: dict[str, list[onnx.NodeProto]], before: bool = False
) -> None:
    """Insert nodes after those, or before those, that make the named tensors, in place."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        own = [new for name in node.output for new in inserted.get(name, [])]
        nodes += [*own, node] if before else [node, *own]
    del graph.node[:]
    graph.node.extend(_sorted(nodes, graph))


def _sorted(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Put nodes after those whose tensors they read, else in the order given."""
    made = {name for node in nodes for name in node.output}
    waiting: dict[str, list[int]] = defaultdict(list)
    missing = [len({name for name in node.input if name in made}) for node in nodes]
    for i, node in enumerate(nodes):
        for name in {name for name in node.input if name in made}:
            waiting[name].append(i)
    ready = [i for i, count in enumerate(missing) if count == 0]
    ordered = []
    while ready:
        ready.sort()
        node = nodes[ready.pop(0)]
        ordered.append(node)
        for name in node.output:
            for i in waiting[name]:
                missing[i] -= 1
                if missing[i] == 0:
                    ready.append(i)
    return ordered
