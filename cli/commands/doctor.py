"""`orthoedge doctor`: report what this machine has, which targets run, and why."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.options import add_bundle, positive
from orthoedge.cli.terminal import printable

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import Bundle

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
    ("cuda-python", "cuda", "jetson"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_bundle(parser)
    parser.add_argument(
        "--warm",
        action="store_true",
        help="compile the model for target x86 and keep it in this installation, or in the folder "
        "of --cache, so that later starts do not",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="for --warm: the folder that other verbs get as --cache",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="for --warm: as the starts that follow give it (default: one per core)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; exit 1 if no target can predict, or a library cannot be used.

    Raises:
        ConfigError: --cache or --threads without --warm.
        EngineError: with --warm, the compiled model cannot be written, or is not read back.
    """
    from orthoedge.runtime.bundles.bundle import bundle_path, read_bundle
    from orthoedge.runtime.errors import BundleError, ConfigError
    from orthoedge.targets.cpu import instruction_sets

    if not args.warm and (args.cache or args.threads):
        raise ConfigError("--cache and --threads belong to --warm")
    print(
        f"orthoedge {importlib.metadata.version('orthoedge')}, Python {platform.python_version()}"
    )
    flags = instruction_sets()
    wanted = ("sse4_1", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    known = ", ".join(flag for flag in wanted if flag in flags) or "not readable"
    print(f"processor: {platform.machine()}, {os.cpu_count()} cores, instruction sets: {known}")
    for name, module, extra in _PACKAGES:
        print(f"  {name:24} {_version(name, module, extra)}")
    is_native_usable = _print_native()
    try:
        bundle = read_bundle(args.bundle or bundle_path())
    except BundleError as error:
        print(f"bundle: {error}")
        return 1
    manifest = bundle.manifest
    print(f"bundle: {manifest.name} {manifest.version}, hashes match; {manifest.intended_use}")
    print(f"  {printable(manifest.licences)}")
    usable = [_has_target("x86", bundle), _has_target("portable", bundle), _has_jetson()]
    if args.warm and usable[0]:
        _warm(bundle, args.cache, args.threads)
    elif args.warm:
        print("compiled: nothing, since only target x86 keeps what it compiles")
    _print_board()
    print(
        "note: NVIDIA's licence for TensorRT excludes medical use without a separate agreement "
        "on critical applications; the OpenVINO and ONNX Runtime targets have no such term"
    )
    return 0 if any(usable) and is_native_usable else 1


def _print_native() -> bool:
    """Print which library prepares radiographs; False if one is installed and cannot be used."""
    from orthoedge.runtime.errors import EngineError
    from orthoedge.runtime.preparation.native import PACKAGE, find_native_library

    try:
        library = find_native_library()
    except EngineError as error:
        print(f"  {PACKAGE:24} not usable: {error}")
        return False
    if library is None:
        print(f"  {PACKAGE:24} not installed: pip install 'orthoedge[native]'")
    else:
        print(f"  {PACKAGE:24} {library.__version__}, kernels {library.instruction_set()}")
    return True


def _has_target(target: str, bundle: Bundle) -> bool:
    from orthoedge.runtime.errors import EngineError, MissingDependency
    from orthoedge.targets import check_target, choose_precision, open_engine

    try:
        check_target(target)
        precision, reason = choose_precision(target, bundle)
        engine = open_engine(bundle, target, precision)
    except (EngineError, MissingDependency) as error:
        print(f"target {target}: no: {error}")
        return False
    default = " (default)" if target == "x86" else ""
    print(
        f"target {target}{default}: yes: {engine.name} {engine.version}, "
        f"{bundle.manifest.key_of(engine)} because {reason}, kernels {engine.isa}"
    )
    return True


def _warm(bundle: Bundle, cache: Path | None, threads: int | None) -> None:
    """Compile the model into the cache, and open it from there, which must give the same answers.

    Raises:
        EngineError: the cache cannot be written, or what was written is not read back.
    """
    from orthoedge.runtime.errors import EngineError
    from orthoedge.targets import EngineOptions, choose_precision, open_engine
    from orthoedge.targets.cpu import available_cores
    from orthoedge.targets.x86.compile import installed_cache

    folder = installed_cache(must_exist=False) if cache is None else cache
    several = [EngineOptions(threads, folder)]
    if threads is None:  # `predict` with several files leaves a core to what reads ahead
        beside = max(1, available_cores() - 1)
        several.append(EngineOptions(beside, folder, streams=beside))
    images = bundle.golden_images()[:1]
    for options in several:
        # Starts without --cache choose by the instruction sets, those with it by measuring once.
        measured_on = None if cache is None else bundle
        precision, _ = choose_precision("x86", measured_on, options=options)
        times, logits = [], []
        for _ in range(2):
            start = time.perf_counter()
            engine = open_engine(bundle, "x86", precision, options=options)
            times.append((time.perf_counter() - start) * 1e3)
            logits.append(engine.run(images).logits.tobytes())
        if logits[0] != logits[1] or engine.notes:
            raise EngineError(f"compile cache {folder}: what was written there is not read back")
        threads_of = f"{engine.threads} {'thread' if engine.threads == 1 else 'threads'}"
        print(
            f"compiled: {precision} for {threads_of} and {options.streams} at once, kept in "
            f"{folder}; it now opens in {times[1]:.0f} ms"
        )


def _has_jetson() -> bool:
    """No engine is opened: that would build a plan, which takes minutes."""
    from orthoedge.runtime.errors import EngineError, MissingDependency
    from orthoedge.targets.jetson.device import probe

    try:
        device = probe()
    except (EngineError, MissingDependency) as error:
        print(f"target jetson: no: {error}")
        return False
    print(
        f"target jetson: yes: tensorrt {device.tensorrt}, cuda {device.cuda}, driver for cuda "
        f"{device.driver}; {device.name}, compute capability {device.compute_capability}, "
        f"{device.memory_mb} MiB; its plans were not checked: run orthoedge verify --target jetson"
    )
    return True


def _print_board() -> None:
    from orthoedge.targets.jetson.telemetry import read_board

    board = read_board()
    if board.model is None:
        print(f"board: not a Jetson, or not readable: {board.absent[0].why}")
        return
    print(f"board: {board.model}; {board.l4t or 'no L4T release'}")
    clocks = ", ".join(
        f"{clock.name} {clock.lowest_mhz:.0f} to {clock.highest_mhz:.0f} MHz"
        for clock in board.gpu_clocks
    )
    for name, value in (
        ("power mode", board.power_mode),
        ("gpu clocks", clocks),
        ("power rails", ", ".join(board.rails_mw)),
        ("temperatures", ", ".join(board.temperatures_c)),
    ):
        if value:
            print(f"  {name:24} {value}")
    for absent in board.absent:
        print(f"  {absent.what:24} absent: {absent.why}")


def _version(name: str, module: str, extra: str) -> str:
    if importlib.util.find_spec(module) is None:
        if extra == "jetson":
            return "not installed: comes with JetPack"
        return f"not installed: pip install 'orthoedge[{extra}]'"
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "installed, version not recorded"
