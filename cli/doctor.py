"""`orthoedge doctor`: what this machine has, what will be used and why."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform

from orthoedge.cli.options import add_bundle

_PACKAGES = (
    ("numpy", "numpy", ""),
    ("opencv-python-headless", "cv2", ""),
    ("msgspec", "msgspec", ""),
    ("openvino", "openvino", "x86"),
    ("onnxruntime", "onnxruntime", "portable"),
    ("pydicom", "pydicom", "dicom"),
    ("torch", "torch", "train"),
    ("nncf", "nncf", "compress"),
    ("tensorrt", "tensorrt", "jetson"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_bundle(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report; exit 1 if no target can predict."""
    from orthoedge.runtime.bundles import EMBEDDED, read_bundle
    from orthoedge.runtime.errors import BundleError, EngineError, MissingDependency
    from orthoedge.targets import check_target, choose_precision, open_engine
    from orthoedge.targets.x86.cpu import instruction_sets

    print(
        f"orthoedge {importlib.metadata.version('orthoedge')}, Python {platform.python_version()}"
    )
    flags = instruction_sets()
    wanted = ("sse4_1", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    known = ", ".join(flag for flag in wanted if flag in flags) or "not readable"
    print(f"processor: {platform.machine()}, {os.cpu_count()} cores, instruction sets: {known}")
    for name, module, extra in _PACKAGES:
        print(f"  {name:24} {_version(name, module, extra)}")
    path = EMBEDDED if args.bundle is None else args.bundle
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        print(f"bundle: {error}")
        return 1
    manifest = bundle.manifest
    print(f"bundle: {manifest.name} {manifest.version}, hashes match; {manifest.intended_use}")
    usable = 0
    for target in ("x86", "portable", "jetson"):
        try:
            check_target(target)
            precision, reason = choose_precision(target, bundle)
            engine = open_engine(bundle, target, precision)
        except (EngineError, MissingDependency) as error:
            print(f"target {target}: no: {error}")
            continue
        usable += 1
        default = " (default)" if target == "x86" else ""
        print(
            f"target {target}{default}: yes: {engine.name} {engine.version}, {engine.precision} "
            f"because {reason}, kernels {engine.isa}"
        )
    print(
        "note: NVIDIA's licence for TensorRT excludes medical use without a separate agreement "
        "on critical applications; the OpenVINO and ONNX Runtime targets have no such term"
    )
    return 0 if usable else 1


def _version(name: str, module: str, extra: str) -> str:
    if importlib.util.find_spec(module) is None:
        if extra == "jetson":
            return "not installed: comes with JetPack"
        return f"not installed: pip install 'orthoedge[{extra}]'"
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "installed, version not recorded"
