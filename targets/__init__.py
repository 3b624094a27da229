"""Targets: what a bundle can run on. Explicit branches; an engine is imported when it is opened."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from orthoedge.runtime.bundles import EMBEDDED, Bundle, read_bundle
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.runtime.errors import EngineError, MissingDependency, UnknownTarget
from orthoedge.runtime.pipeline import Pipeline

TARGETS = ("x86", "portable", "jetson")

__all__ = [
    "TARGETS",
    "check_target",
    "choose_precision",
    "open_engine",
    "open_model",
    "open_pipeline",
]


def open_engine(
    bundle: Bundle,
    target: str = "x86",
    precision: Literal["auto", "int8", "fp32"] = "auto",
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
) -> Engine:
    """Open an engine on one of the bundle's models.

    Args:
        bundle: a bundle whose hashes were checked.
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        precision: `auto` leaves the choice to the target; with a `cache` it is measured once and
            remembered there, else it follows from the processor's instruction sets.
        threads: CPU threads; None lets the engine take one per core.
        cache: folder that keeps what x86 compiled, so that the next start is faster; None keeps
            nothing. The portable engine has nothing to keep.
        streams: how many images x86 infers at once, for as many calling threads; they share the
            CPU threads. The portable engine infers for each calling thread at once.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
        EngineError: the engine refused the model or the precision.
    """
    if precision not in ("auto", "int8", "fp32"):
        raise EngineError(f"precision {precision!r} is unknown: choose auto, int8 or fp32")
    if streams < 1:
        raise EngineError(f"streams: expected 1 or more, got {streams}")
    check_target(target)
    chosen = precision
    if chosen == "auto":
        known = bundle if cache is not None else None
        chosen, _ = choose_precision(target, known, threads, cache, streams)
    size = bundle.manifest.graph.size
    return open_model(bundle.model(chosen), size, target, chosen, threads, cache, streams)


def open_model(
    model: bytes,
    size: int,
    target: str,
    precision: Precision,
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
) -> Engine:
    """Open an engine on a model that is in no bundle yet: as `open_engine`, nothing is checked.

    Args:
        model: an ONNX file with the common face.
        size: side S of its input, in pixels.
        target: see `open_engine`.
        precision: what the file is.
        threads: see `open_engine`.
        cache: see `open_engine`.
        streams: see `open_engine`.
    """
    check_target(target)
    if target == "x86":
        from orthoedge.targets.x86.engine import OpenVinoEngine

        return OpenVinoEngine(model, size, precision, threads, cache, streams)
    from orthoedge.targets.portable.engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, size, precision, threads)


def check_target(target: str) -> None:
    """Raise unless an engine for `target` can be opened here.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
        EngineError: the target cannot run predictions in this version.
    """
    if target not in TARGETS:
        raise UnknownTarget(f"target {target!r} is unknown: choose one of {', '.join(TARGETS)}")
    if target == "jetson":
        raise EngineError(
            "target jetson: running a plan is not part of this version; "
            "use --target x86 or portable on this machine"
        )
    package, purpose = {"x86": "openvino", "portable": "onnxruntime"}[target], f"target {target}"
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(package, target, purpose)


def choose_precision(
    target: str,
    bundle: Bundle | None = None,
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
) -> tuple[Precision, str]:
    """The precision `auto` stands for on this machine, and why.

    Args:
        target: see `open_engine`.
        bundle: measure it on this one; None goes by the processor's instruction sets.
        threads: see `open_engine`.
        cache: folder that remembers what was measured.
        streams: see `open_engine`.
    """
    if target == "x86" and bundle is not None:
        from orthoedge.targets.x86.choice import measure_precision

        return measure_precision(bundle, threads, cache, streams)
    if target == "x86":
        from orthoedge.targets.x86.cpu import choose_precision as choose

        return choose()
    return "fp32", "the reference engine runs the reference model"


def open_pipeline(
    bundle: Bundle | Path | str | None = None,
    target: str = "x86",
    precision: Literal["auto", "int8", "fp32"] = "auto",
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
    deadline_ms: float | None = None,
    memory_mb: float | None = None,
) -> Pipeline:
    """Read a bundle, open an engine on it, and return the pipeline.

    Args:
        bundle: a bundle, its folder or .zip; None for the one inside the package.
        target: see `open_engine`.
        precision: see `open_engine`.
        threads: see `open_engine`.
        cache: see `open_engine`.
        streams: see `open_engine`.
        deadline_ms: see `Pipeline`.
        memory_mb: see `Pipeline`.

    Raises:
        BundleError: the bundle is missing or is not what its manifest says.
        EngineError: the engine cannot be opened.
        RecipeError: `deadline_ms` or `memory_mb` is not above 0.
    """
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(EMBEDDED if bundle is None else Path(bundle))
    engine = open_engine(bundle, target, precision, threads, cache, streams)
    return Pipeline(bundle, engine, deadline_ms=deadline_ms, memory_mb=memory_mb)
