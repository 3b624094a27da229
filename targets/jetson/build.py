"""ONNX to an engine plan, on the device that will run it.

NVIDIA's licence for TensorRT excludes medical use without a separate agreement on critical
applications. Not yet measured on hardware: what is tested is that TensorRT's parser and builder
accept the models.
"""

from __future__ import annotations

import importlib
from typing import Any

from orthoedge.runtime.errors import EngineError, MissingDependency


def build_plan(model: bytes, module: str = "tensorrt") -> bytes:
    """Build a serialized engine plan; the precision is what the ONNX file says.

    Args:
        model: an ONNX file with the common face, its hash already checked.
        module: `tensorrt`, or another package of the same interface.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT's parser or builder refused the model.
    """
    try:
        trt: Any = importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            module, "jetson", "building a plan (TensorRT comes with JetPack, not from pip)"
        ) from error
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    # From TensorRT 11 on every network is strongly typed and the flag is gone.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise EngineError(f"tensorrt refused the model: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    source = network.get_input(0)
    shape = (1, *tuple(source.shape)[1:])
    profile.set_shape(source.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError("tensorrt's builder gave no plan; its own log above says why")
    return bytes(plan)
