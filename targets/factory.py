"""Open a bundle on a target. Explicit branches; an engine is imported when it is opened."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Literal

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import Bundle, bundle_path, model_file, read_bundle
from orthoedge.runtime.engine import PRECISIONS, Engine, Precision, calibrated_as
from orthoedge.runtime.errors import EngineError, MissingDependency, UnknownTarget
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.pipeline import Pipeline, Reader
from orthoedge.runtime.settings import BundleTrust, CallLimits, EngineOptions, reads_old_form

TARGETS = ("x86", "portable", "jetson")


@reads_old_form("threads", "cache", "streams")
def open_engine(
    bundle: Bundle,
    target: str = "x86",
    precision: Precision | Literal["auto"] = "auto",
    *,
    options: EngineOptions = EngineOptions(),
) -> Engine:
    """Open an engine on one of the bundle's models.

    Args:
        bundle: a bundle whose hashes were checked.
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        precision: `int8`, `fp32`, on jetson also `fp16`, or `auto`. `auto` is INT8 on jetson. On
            portable it is INT8 where the bundle has it in a form for ONNX Runtime and the
            processor has VNNI, else fp32. On x86 it follows from the processor's instruction sets;
            with `options.cache` it is measured once and remembered there.
        options: CPU threads, cache folder and streams.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
        BundleError: the bundle lacks the precision.
        EngineError: the engine refused the model or the precision, or there is no GPU for it.
    """
    if precision not in ("auto", "int8", "fp16", "fp32"):
        raise EngineError(f"precision {precision!r} is unknown: choose auto, int8, fp16 or fp32")
    check_target(target)
    if precision == "auto":
        measured_on = bundle if options.cache is not None or target != "x86" else None
        precision, _ = choose_precision(target, measured_on, options=options)
    key, size = bundle.manifest.key_for(target, precision), bundle.manifest.graph.size
    model = bundle.model(key)
    digest = bundle.manifest.files[model_file(key)].sha256
    return _open(model, size, target, precision, options, digest)


@reads_old_form("threads", "cache", "streams")
def open_model(
    model: bytes,
    size: int,
    target: str,
    precision: Precision,
    *,
    options: EngineOptions = EngineOptions(),
) -> Engine:
    """Open an engine on the bytes of an ONNX file that is in no bundle; nothing is checked first.

    Args:
        model: an ONNX file with the interface of a bundle's models (docs/embed/embedding.md).
        size: side S of its input, in pixels.
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        precision: precision of the file: `int8`, `fp32`, on jetson also `fp16`.
        options: CPU threads, cache folder and streams.

    Raises:
        UnknownTarget: no such target.
        MissingDependency: its engine is not installed.
        EngineError: the engine refused the model or the precision, or there is no GPU for it.
    """
    check_target(target)
    return _open(model, size, target, precision, options, sha256(model))


def _open(
    model: bytes,
    size: int,
    target: str,
    precision: Precision,
    options: EngineOptions,
    model_sha256: str,
) -> Engine:
    if target == "jetson":
        return _open_on_jetson(model, size, precision, options.cache, model_sha256)
    if precision not in PRECISIONS:
        raise EngineError(f"target {target} runs {' and '.join(PRECISIONS)}, not {precision}")
    if target == "x86":
        from orthoedge.targets.x86.engine import OpenVinoEngine

        return OpenVinoEngine(model, size, precision, options, model_sha256)
    from orthoedge.targets.portable.engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, size, precision, options.threads, model_sha256)


def _open_on_jetson(
    model: bytes, size: int, precision: Precision, cache: Path | None, model_sha256: str
) -> Engine:
    from orthoedge.targets.jetson.device import probe
    from orthoedge.targets.jetson.engine import TensorRtEngine
    from orthoedge.targets.jetson.plan_cache import obtain_plan

    device = probe()
    stored = obtain_plan(model, device, cache)
    engine = TensorRtEngine(stored.data, size, precision, device)
    engine.model_sha256 = model_sha256
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
    if target != "jetson":
        return PRECISIONS
    half: tuple[Precision, ...] = ("fp16",) if "fp16" in bundle.manifest.golden.tolerance else ()
    return (*PRECISIONS, *half)


@reads_old_form("threads", "cache", "streams")
def choose_precision(
    target: str, bundle: Bundle | None = None, *, options: EngineOptions = EngineOptions()
) -> tuple[Precision, str]:
    """The precision that `auto` stands for on this machine, and the reason for it.

    Args:
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        bundle: on x86, measure both precisions on this bundle; None decides by the processor's
            instruction sets. On portable, None decides for a bundle without INT8 for that target.
        options: CPU threads and streams of the measurement, and the folder that remembers it.
    """
    if target == "x86" and bundle is not None:
        from orthoedge.targets.x86.precision import measure_precision

        return measure_precision(bundle, options)
    if target == "x86":
        from orthoedge.targets.cpu import choose_precision as choose

        return choose()
    if target == "jetson":
        return "int8", "the INT8 model is made for its kernels"
    if bundle is None or "portable" not in bundle.manifest.int8_cpu:
        return "fp32", "the bundle has no INT8 model in a form for ONNX Runtime"
    from orthoedge.targets.cpu import choose_onnxruntime_precision

    return choose_onnxruntime_precision()


@reads_old_form(
    *("target", "precision", "threads", "cache", "streams"),
    *("deadline_ms", "memory_mb", "key", "oldest"),
)
def open_pipeline(
    bundle: Bundle | Path | str | None = None,
    *,
    target: str = "x86",
    precision: Precision | Literal["auto"] = "auto",
    engine: EngineOptions = EngineOptions(),
    limits: CallLimits = CallLimits(),
    trust: BundleTrust = BundleTrust(),
    reader: Reader = read_image,
) -> Pipeline:
    """Read a bundle, open an engine on it, and return the pipeline.

    Where jetson has no TensorRT or no GPU, or loses it later, a CPU engine takes its place (x86
    where OpenVINO is installed, else portable; fp32 for fp16), and every finding says why.

    Args:
        bundle: a bundle, its folder or .zip; `phantom`, as a string, for the phantom demonstration
            inside the package; None for the package's default bundle.
        target: `x86` (OpenVINO), `portable` (ONNX Runtime) or `jetson` (TensorRT).
        precision: `int8`, `fp32`, on jetson also `fp16`, or `auto`, as of `open_engine`.
        engine: CPU threads, cache folder, and images inferred at once.
        limits: deadline of a call, and memory that reading one file may take.
        trust: the key that must have signed the bundle, and the oldest version that is accepted.
        reader: reads files; `SandboxedReader()` decodes them in a child process.

    Raises:
        BundleError: the bundle is missing, such as a default that this installation lacks, is not
            what its manifest says, or lacks the precision.
        EngineError: the engine cannot be opened, for jetson no CPU engine either.
    """
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(bundle_path(bundle), trust=trust)
    bundle.check_trust(trust)
    open_on = partial(open_engine, bundle, options=engine)
    if target != "jetson":
        return Pipeline(bundle, open_on(target, precision), limits=limits, reader=reader)
    precision = choose_precision(target)[0] if precision == "auto" else precision
    cpu = "x86" if importlib.util.find_spec("openvino") else "portable"
    open_fallback = partial(open_on, cpu, calibrated_as(precision))
    try:
        on_gpu = open_on(target, precision)
    except (EngineError, MissingDependency) as error:
        bundle.model(precision)  # a precision that the bundle lacks is no fault of the GPU
        reason = f"target jetson: {error}"
        try:
            on_cpu = open_fallback()
        except MissingDependency as second:
            raise EngineError(f"{reason}; and no CPU engine: {second}") from second
        return Pipeline(bundle, on_cpu, limits=limits, reader=reader, fallback_reason=reason)
    return Pipeline(bundle, on_gpu, limits=limits, reader=reader, fallback=open_fallback)
