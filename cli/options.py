"""Options that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """`--bundle`."""
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="B",
        help="bundle folder or .zip (default: the phantom demonstration inside the package)",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """`--target` and `--precision`."""
    parser.add_argument(
        "--target", default="x86", metavar="T", help="x86 (OpenVINO) or portable (ONNX Runtime)"
    )
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "int8", "fp32"), help="default: auto"
    )
