"""A bundle's model with more classes, to measure the cost of a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from orthoedge.runtime.errors import EngineError, MissingDependency

_FEATURES, _BY_CLASS = "feature_vector", {"logits", "saliency_map"}


def widen(model: bytes, classes: int, times: int) -> bytes:
    """Repeat head and map, so that the logits of C classes appear `times` times.

    Head and map are the nodes that the pooled features do not depend on. Each of their constants is
    repeated along its axis of C entries.

    Args:
        model: ONNX file with a bundle's inputs and outputs.
        classes: C.
        times: 1 or more.

    Raises:
        MissingDependency: onnx is not installed.
        EngineError: as many features as classes, so that the axes cannot be distinguished.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependency("onnx", "compress", "a model with more classes") from error
    whole = onnx.load_model_from_string(model)
    head = _head(whole)
    features = next(output for output in whole.graph.output if output.name == _FEATURES)
    if features.type.tensor_type.shape.dim[1].dim_value == classes:
        raise EngineError(f"{classes} classes and as many features cannot be distinguished")
    used = {name for node in head for name in node.input}
    shapes = {node.input[1] for node in head if node.op_type == "Reshape"}
    for constant in whole.graph.initializer:
        if constant.name in used:
            array = onnx.numpy_helper.to_array(constant).copy()
            if constant.name not in shapes:
                array = np.tile(array, [times if n == classes else 1 for n in array.shape])
            elif len(array) > 1 and array[1] == classes:  # the map's reshape to (N, C, h, w)
                array[1] *= times
            constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
    for output in whole.graph.output:
        if output.name in _BY_CLASS:
            output.type.tensor_type.shape.dim[1].dim_value = classes * times
    del whole.graph.value_info[:]
    return bytes(whole.SerializeToString())


def _head(whole: Any) -> list[Any]:
    """Nodes that the pooled features do not depend on, in order."""
    makers = {name: node for node in whole.graph.node for name in node.output}
    waiting, backbone = [_FEATURES], set[str]()
    while waiting:
        name = waiting.pop()
        if name in makers and name not in backbone:
            backbone.add(name)
            waiting += makers[name].input
    return [node for node in whole.graph.node if backbone.isdisjoint(node.output)]
