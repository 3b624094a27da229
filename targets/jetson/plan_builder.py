"""Build an engine plan from an ONNX model, and read the layers of an engine.

NVIDIA's licence for TensorRT excludes medical use without a separate agreement on critical
applications. Not yet measured on hardware: tests show that TensorRT's parser and builder accept the
models.

Supports TensorRT 10.3 to 11.4; attributes that differ between the generations are looked up by
name. Sources: NVIDIA's "TensorRT Python API", and "Migrating from TensorRT 10.x to 11.x".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.tensorrt_module import load_tensorrt

NOT_REPORTED = "not reported"
_SAME_NAMES = ("fp32", "fp16", "bf16", "int8", "uint8", "int32", "int64", "bool")
# TensorRT's names of types, in both generations, and ours.
_TYPES = {"float": "fp32", "half": "fp16"} | {name: name for name in _SAME_NAMES}


@dataclass(frozen=True)
class Plan:
    """A built engine plan."""

    data: bytes
    """The serialized engine."""
    warnings: tuple[str, ...]
    """Warnings of the parser and the builder, unchanged."""
    timing_cache: bytes
    """Kernel timings, old and new, for the next build on this device; empty if none are new."""


@dataclass(frozen=True)
class Layer:
    """One layer of an engine, with TensorRT's names; `not reported` where TensorRT reports none."""

    name: str
    kind: str
    precision: str
    """Type of its weights if it has any, otherwise of its inputs: `int8`, `fp16`, `fp32+int8`."""


def build_plan(model: bytes, module: str = "tensorrt", timing_cache: bytes = b"") -> Plan:
    """Build a serialized engine plan; the types are those of the ONNX file.

    Args:
        model: an ONNX file with the interface of a bundle's models, its hash already checked.
        module: `tensorrt`, or another package of the same interface.
        timing_cache: from an earlier build on this device, its hash already checked.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT's parser or builder refused the model.
    """
    trt = load_tensorrt(module)
    messages: list[tuple[int, str]] = []
    log = logger(trt, messages)
    builder = trt.Builder(log)
    # TensorRT 11 types every network strongly; the flag is deprecated there, and may go.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise EngineError(f"tensorrt refused the model: {_line(parser.get_error(0).desc())}")
    if network.num_inputs == 0:
        raise EngineError("tensorrt found no input in the model")
    config = _config(trt, builder, network)
    timings = config.create_timing_cache(timing_cache)
    before = bytes(timings.serialize())
    config.set_timing_cache(timings, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        errors = (text for severity, text in messages if severity <= int(trt.ILogger.ERROR))
        raise EngineError(f"tensorrt's builder returned no plan: {next(errors, 'no reason')}")
    after = bytes(config.get_timing_cache().serialize())
    warned = int(trt.ILogger.WARNING)
    warnings = tuple(text for severity, text in messages if severity <= warned)
    return Plan(bytes(plan), warnings, after if after != before else b"")


def _config(trt: Any, builder: Any, network: Any) -> Any:
    """Settings for one image at a time, detailed layer information, and true float32."""
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # Otherwise "fp32" multiplies in TF32, with ten bits of mantissa, wherever that is faster.
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    source = network.get_input(0)
    shape = (1, *tuple(source.shape)[1:])
    profile.set_shape(source.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    return config


def layers(engine: Any, trt: Any) -> tuple[Layer, ...]:
    """Every layer as the engine inspector reports it; nothing is inferred from the model.

    Args:
        engine: a deserialized engine (`ICudaEngine`), built by `build_plan`.
        trt: the module it comes from.
    """
    inspector = engine.create_engine_inspector()
    form = trt.LayerInformationFormat.JSON
    return tuple(
        _layer(inspector.get_layer_information(index, form)) for index in range(engine.num_layers)
    )


def _layer(text: str) -> Layer:
    """Parse the inspector's JSON: an object, or only a name in an engine built with less detail.

    A tensor's type is in `Format/Datatype` up to TensorRT 10, and in a separate field from 11 on.
    """
    try:
        record = msgspec.json.decode(text)
    except msgspec.DecodeError:
        record = None
    if not isinstance(record, dict):
        name = record if isinstance(record, str) else NOT_REPORTED
        return Layer(name, NOT_REPORTED, NOT_REPORTED)
    weights = record.get("Weights")
    if isinstance(weights, dict) and weights.get("Count"):
        sources = [weights.get("Type")]
    else:
        sources = [
            tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype")
            for tensor in record.get("Inputs") or ()
            if isinstance(tensor, dict)
        ]
    types = dict.fromkeys(_type(str(source)) for source in sources if source)
    return Layer(
        record.get("Name") or NOT_REPORTED,
        record.get("LayerType") or NOT_REPORTED,
        "+".join(sorted(types)) or NOT_REPORTED,
    )


def _type(text: str) -> str:
    """`int8` from "Thirty-two wide channel vectorized row major Int8 format"; else the text."""
    known = [_TYPES[word] for word in re.findall(r"\w+", text.lower()) if word in _TYPES]
    return known[-1] if known else text


def logger(trt: Any, messages: list[tuple[int, str]]) -> Any:
    """A TensorRT logger that appends (severity, text) to `messages`; lower is more severe."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the binding refuses super()

        def log(self, severity: Any, text: str) -> None:
            messages.append((int(severity), _line(text)))

    return Logger()


def _line(text: str) -> str:
    return " ".join(text.split())
