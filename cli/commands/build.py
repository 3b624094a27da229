"""`orthoedge build`: build a TensorRT engine plan on the device itself."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from orthoedge.cli.options import named_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "bundle", type=named_bundle, metavar="BUNDLE", help="bundle folder or .zip, or phantom"
    )
    parser.add_argument("--target", required=True, metavar="T", help="jetson")
    parser.add_argument("--precision", default="int8", choices=("int8", "fp16", "fp32"))
    parser.add_argument(
        "--cache",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the plan; other verbs find it there when given the same --cache",
    )


def run(args: argparse.Namespace) -> int:
    """Build the plan unless the folder has it, and print the precision of its layers."""
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.runtime.errors import UnknownTarget
    from orthoedge.targets import TARGETS
    from orthoedge.targets.jetson.device import probe
    from orthoedge.targets.jetson.engine import TensorRtEngine
    from orthoedge.targets.jetson.plan_cache import obtain_plan

    if args.target not in TARGETS:
        raise UnknownTarget(f"target {args.target!r} is unknown: only jetson takes a plan")
    if args.target != "jetson":
        raise UnknownTarget(f"target {args.target!r} needs no plan: only jetson does")
    bundle, device = read_bundle(args.bundle), probe()
    stored = obtain_plan(bundle.model(args.precision), device, args.cache)
    for line in (stored.refused, *stored.warnings):
        if line:
            print(f"tensorrt: {line}", file=sys.stderr)
    done = "built" if stored.built else "already there"
    print(f"plan: {args.cache}, {len(stored.data) / 1e6:.1f} MB, {done}")
    size = bundle.manifest.graph.size
    engine = TensorRtEngine(stored.data, size, args.precision, device)
    for precision, count in sorted(Counter(layer.precision for layer in engine.layers).items()):
        print(f"layers: {count:4} {precision}")
    return 0
