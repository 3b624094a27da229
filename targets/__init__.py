"""What a bundle can run on: OpenVINO, ONNX Runtime, TensorRT."""

from orthoedge.targets.factory import (
    TARGETS,
    check_target,
    choose_precision,
    open_engine,
    open_model,
    open_pipeline,
    precisions_of,
)

__all__ = [
    "TARGETS",
    "check_target",
    "choose_precision",
    "open_engine",
    "open_model",
    "open_pipeline",
    "precisions_of",
]
