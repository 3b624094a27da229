"""Options that several verbs share."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthoedge.runtime.settings import BundleTrust


def positive(text: str) -> int:
    """Type of an option that takes a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """Type of an option that takes a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def named_bundle(text: str) -> Path:
    """Type of an argument that names a bundle."""
    from orthoedge.runtime.bundles.paths import bundle_path  # loads no numpy

    return bundle_path(text)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """`--bundle`."""
    parser.add_argument(
        "--bundle",
        type=named_bundle,
        metavar="B",
        help="bundle folder or .zip, or phantom for the phantom demonstration inside the package; "
        "a folder called phantom is ./phantom (default: the bundle inside the package, trained on "
        "real radiographs)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """`--key` and `--min-version`."""
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="public Ed25519 key, PEM: refuse a bundle that this key did not sign",
    )
    add_min_version(parser)


def add_min_version(parser: argparse.ArgumentParser) -> None:
    """`--min-version`, and `--oldest`, its name in 0.1.0."""
    parser.add_argument(
        "--min-version",
        default="",
        metavar="VERSION",
        help="refuse an older bundle; numbers with dots, such as 0.2.0",
    )
    parser.add_argument("--oldest", dest="min_version", default="", help=argparse.SUPPRESS)


def bundle_trust(args: argparse.Namespace) -> BundleTrust:
    """The signer and the version that `--key` and `--min-version` ask for."""
    from orthoedge.runtime import BundleTrust, read_key

    return BundleTrust(None if args.key is None else read_key(args.key), args.min_version)


def add_target(parser: argparse.ArgumentParser) -> None:
    """`--target` and `--precision`."""
    parser.add_argument(
        "--target",
        default="x86",
        metavar="T",
        help="x86 (OpenVINO), portable (ONNX Runtime) or jetson (TensorRT) (default: x86)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "int8", "fp32", "fp16"),
        help="default: auto; fp16 runs on jetson only",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """`--cache`."""
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for preprocessed images, reused by later runs (default: "
        "$XDG_CACHE_HOME/orthoedge or ~/.cache/orthoedge)",
    )


def let_threads_sleep() -> None:
    """Make OpenMP's threads sleep while they wait; call before torch is loaded.

    Spinning threads made training 8 times slower on a busy machine; sleeping costs almost nothing
    on an idle one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
