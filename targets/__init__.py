"""Engines that a bundle can run on: OpenVINO, ONNX Runtime, TensorRT. Imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthoedge.runtime.settings import BundleTrust, CallLimits, EngineOptions
    from orthoedge.targets.factory import (
        TARGETS,
        check_target,
        choose_precision,
        open_engine,
        open_model,
        open_pipeline,
        precisions_of,
    )
    from orthoedge.targets.verification import ParityCheck, check_engine, deviation

__all__ = [
    "TARGETS",
    "BundleTrust",
    "CallLimits",
    "EngineOptions",
    "ParityCheck",
    "check_engine",
    "check_target",
    "choose_precision",
    "deviation",
    "open_engine",
    "open_model",
    "open_pipeline",
    "precisions_of",
]

_MODULES = {
    "orthoedge.runtime.settings": ("BundleTrust", "CallLimits", "EngineOptions"),
    "orthoedge.targets.verification": ("ParityCheck", "check_engine", "deviation"),
}

if not TYPE_CHECKING:  # else a type checker would accept every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        homes = (module for module, names in _MODULES.items() if name in names)
        home = importlib.import_module(next(homes, "orthoedge.targets.factory"))
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    return __all__
