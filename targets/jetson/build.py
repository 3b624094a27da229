"""ONNX to an engine plan, on the device that will run it.

NVIDIA's licence for TensorRT excludes medical use without a separate agreement on critical
applications. Not yet measured on hardware: what is tested is that TensorRT's parser and builder
accept the models.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from orthoedge.runtime.errors import EngineError, MissingDependency


@dataclass(frozen=True)
class Plan:
    """What TensorRT made of a model."""

    data: bytes
    """The serialized engine."""
    warnings: tuple[str, ...]
    """What the parser or the builder had to say about the model, in their words."""


def build_plan(model: bytes, module: str = "tensorrt") -> Plan:
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
    said: list[tuple[int, str]] = []
    logger = _logger(trt, said)
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
        why = [text for severity, text in said if severity <= int(trt.ILogger.ERROR)]
        raise EngineError(f"tensorrt's builder gave no plan: {why[0] if why else 'no reason'}")
    warned = int(trt.ILogger.WARNING)
    return Plan(bytes(plan), tuple(text for severity, text in said if severity <= warned))


def _logger(trt: Any, said: list[tuple[int, str]]) -> Any:
    """A TensorRT logger that appends (severity, text) to `said`; a lower severity is graver."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the binding refuses super()

        def log(self, severity: Any, text: str) -> None:
            said.append((int(severity), text))

    return Logger()
