"""The lean runtime: numpy, OpenCV and msgspec only. Every public name is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import (
        EMBEDDED,
        PHANTOM,
        PHANTOM_SAMPLES,
        SAMPLES,
        Bundle,
        read_bundle,
    )
    from orthoedge.runtime.bundles.signature import read_key
    from orthoedge.runtime.decision import Verdict
    from orthoedge.runtime.engine import Engine, Outputs, Precision
    from orthoedge.runtime.errors import (
        BundleError,
        ConfigError,
        DataError,
        DeadlineExceeded,
        EngineError,
        GateFailed,
        InputError,
        IntegrityError,
        MissingDependency,
        ModelError,
        OrthoEdgeError,
        UnknownTarget,
    )
    from orthoedge.runtime.finding import Finding, Provenance, Thresholds, Timing
    from orthoedge.runtime.image_io.folder import find_images
    from orthoedge.runtime.image_io.radiograph import Radiograph, ReasonId
    from orthoedge.runtime.image_io.reader import read_image
    from orthoedge.runtime.image_io.sandbox import SandboxedReader, SandboxLimits
    from orthoedge.runtime.overlay.overlay import draw_heat_map, to_png
    from orthoedge.runtime.overlay.overlay import overlay as draw_overlay
    from orthoedge.runtime.overlay.overlay import side_by_side as draw_side_by_side
    from orthoedge.runtime.pipeline import Pipeline, Reader
    from orthoedge.runtime.settings import BundleTrust, CallLimits, EngineOptions

__all__ = [
    "EMBEDDED",
    "PHANTOM",
    "PHANTOM_SAMPLES",
    "SAMPLES",
    "Bundle",
    "BundleError",
    "BundleTrust",
    "CallLimits",
    "ConfigError",
    "DataError",
    "DeadlineExceeded",
    "Engine",
    "EngineError",
    "EngineOptions",
    "Finding",
    "GateFailed",
    "InputError",
    "IntegrityError",
    "MissingDependency",
    "ModelError",
    "OrthoEdgeError",
    "Outputs",
    "Pipeline",
    "Precision",
    "Provenance",
    "Radiograph",
    "Reader",
    "ReasonId",
    "SandboxLimits",
    "SandboxedReader",
    "Thresholds",
    "Timing",
    "UnknownTarget",
    "Verdict",
    "draw_heat_map",
    "draw_overlay",
    "draw_side_by_side",
    "find_images",
    "read_bundle",
    "read_image",
    "read_key",
    "to_png",
]

_MODULES = {  # the names that are not listed are in `errors`
    "bundles.bundle": (
        "Bundle",
        "EMBEDDED",
        "PHANTOM",
        "PHANTOM_SAMPLES",
        "SAMPLES",
        "read_bundle",
    ),
    "bundles.signature": ("read_key",),
    "decision": ("Verdict",),
    "engine": ("Engine", "Outputs", "Precision"),
    "finding": ("Finding", "Provenance", "Thresholds", "Timing"),
    "image_io.folder": ("find_images",),
    "image_io.radiograph": ("Radiograph", "ReasonId"),
    "image_io.reader": ("read_image",),
    "image_io.sandbox": ("SandboxLimits", "SandboxedReader"),
    "overlay.overlay": ("draw_heat_map", "draw_overlay", "draw_side_by_side", "to_png"),
    "pipeline": ("Pipeline", "Reader"),
    "settings": ("BundleTrust", "CallLimits", "EngineOptions"),
}
# A subpackage of that name hides the function once it is imported.
_RENAMED = {"draw_overlay": "overlay", "draw_side_by_side": "side_by_side"}

if not TYPE_CHECKING:  # else a type checker would accept every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((module for module, names in _MODULES.items() if name in names), "errors")
        module = importlib.import_module(f"{__name__}.{home}")
        value = globals()[name] = getattr(module, _RENAMED.get(name, name))
        return value


def __dir__() -> list[str]:
    return __all__
