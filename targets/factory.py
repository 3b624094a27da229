"""Open a bundle on a target. Explicit branches; an engine is imported when it is opened."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Literal

from orthoedge.runtime.bundles.bundle import EMBEDDED, Bundle, read_bundle
from orthoedge.runtime.engine import (
    PRECISIONS,
    Engine,
    Precision,
    calibrated_as,
)
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
    "precisions_of",
]


def open_engine(
    bundle: Bundle,
    target: str = "x86",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
) -> Engine:
    """Open an engine on one of the bundle's models.

    Args:
        bundle: a bundle whose hashes were checked.
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        precision: `auto` leaves the choice to the target: INT8 on jetson; on x86 with a `cache` it
            is measured once and remembered there, else it follows from the processor's instruction
            sets. Only jetson runs fp16.
        threads: CPU threads; None lets the engine take one per core.
        cache: folder that keeps what x86 compiled or jetson built, so that the next start is
            faster; None keeps nothing, and jetson then builds its plan at every start, which takes
            minutes on a board. The portable engine has nothing to keep.
        streams: how many images x86 infers at once, for as many calling threads; they share the
            CPU threads. The portable engine infers for each calling thread at once, jetson for one
            after another.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
        EngineError: the engine refused the model or the precision, or there is no GPU for it.
    """
    if precision not in ("auto", "int8", "fp16", "fp32"):
        raise EngineError(f"precision {precision!r} is unknown: choose auto, int8, fp16 or fp32")
    if streams < 1:
        raise EngineError(f"streams: expected 1 or more, got {streams}")
    check_target(target)
    if precision == "auto":
        known = bundle if cache is not None else None
        precision, _ = choose_precision(target, known, threads, cache, streams)
    size = bundle.manifest.graph.size
    return open_model(bundle.model(precision), size, target, precision, threads, cache, streams)


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
    if target == "jetson":
        return _open_on_jetson(model, size, precision, cache)
    if precision not in PRECISIONS:
        raise EngineError(f"target {target} runs {' and '.join(PRECISIONS)}, not {precision}")
    if target == "x86":
        from orthoedge.targets.x86.engine import OpenVinoEngine

        return OpenVinoEngine(model, size, precision, threads, cache, streams)
    from orthoedge.targets.portable.engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, size, precision, threads)


def _open_on_jetson(model: bytes, size: int, precision: Precision, cache: Path | None) -> Engine:
    from orthoedge.targets.jetson.device import probe
    from orthoedge.targets.jetson.engine import TensorRtEngine
    from orthoedge.targets.jetson.plan_cache import obtain_plan

    device = probe()
    stored = obtain_plan(model, device, cache)
    engine = TensorRtEngine(stored.data, size, precision, device)
    if stored.refused:
        engine.notes = (f"engine plan made anew: {stored.refused}",)
    return engine


def check_target(target: str) -> None:
    """Raise unless the engine for `target` is installed; whether it finds a GPU is not asked.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
    """
    if target not in TARGETS:
        raise UnknownTarget(f"target {target!r} is unknown: choose one of {', '.join(TARGETS)}")
    package, purpose = {
        "x86": ("openvino", "target x86"),
        "portable": ("onnxruntime", "target portable"),
        "jetson": ("tensorrt", "target jetson (it comes with JetPack, not from pip)"),
    }[target]
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(package, target, purpose)


def precisions_of(bundle: Bundle, target: str) -> tuple[Precision, ...]:
    """What a target runs of the bundle's models: a jetson fp16 too, where the bundle has it."""
    return tuple(bundle.manifest.golden.tolerance) if target == "jetson" else PRECISIONS


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
        from orthoedge.targets.x86.precision import measure_precision

        return measure_precision(bundle, threads, cache, streams)
    if target == "x86":
        from orthoedge.targets.cpu import choose_precision as choose

        return choose()
    if target == "jetson":
        return "int8", "the INT8 model is made for its kernels"
    return "fp32", "the reference engine runs the reference model"


def open_pipeline(
    bundle: Bundle | Path | str | None = None,
    target: str = "x86",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    cache: Path | None = None,
    streams: int = 1,
    deadline_ms: float | None = None,
    memory_mb: float | None = None,
    key: bytes | None = None,
    oldest: str = "",
) -> Pipeline:
    """Read a bundle, open an engine on it, and return the pipeline.

    Where jetson has no TensorRT or no GPU, or loses it later, a CPU engine takes its place (x86
    where OpenVINO is installed, else portable; fp32 for fp16), and every finding says why.

    Args:
        bundle: a bundle, its folder or .zip; None for the one inside the package.
        target: see `open_engine`.
        precision: see `open_engine`.
        threads: see `open_engine`.
        cache: see `open_engine`.
        streams: see `open_engine`.
        deadline_ms: see `Pipeline`.
        memory_mb: see `Pipeline`.
        key: see `read_bundle`.
        oldest: see `read_bundle`.

    Raises:
        BundleError: the bundle is missing, is not what its manifest says, or lacks the precision.
        EngineError: the engine cannot be opened, for jetson no CPU engine either.
        RecipeError: `deadline_ms` or `memory_mb` is not above 0, or `oldest` is no version.
    """
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(EMBEDDED if bundle is None else Path(bundle), key, oldest)
    bundle.check_trust(key, oldest)
    open_on = partial(open_engine, bundle, threads=threads, cache=cache, streams=streams)
    if target != "jetson":
        engine = open_on(target, precision)
        return Pipeline(bundle, engine, deadline_ms=deadline_ms, memory_mb=memory_mb)
    precision = choose_precision(target)[0] if precision == "auto" else precision
    cpu = "x86" if importlib.util.find_spec("openvino") else "portable"
    spare = partial(open_on, cpu, calibrated_as(precision))
    try:
        engine = open_on(target, precision)
    except (EngineError, MissingDependency) as error:
        bundle.model(precision)  # what the bundle lacks is no fault of the GPU
        fallback = f"target jetson: {error}"
        try:
            engine = spare()
        except MissingDependency as second:
            raise EngineError(f"{fallback}; and no CPU engine: {second}") from second
        return Pipeline(bundle, engine, fallback, deadline_ms, memory_mb)
    return Pipeline(bundle, engine, "", deadline_ms, memory_mb, spare)
