"""`orthoedge build`: an engine plan, on the device itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder or .zip")
    parser.add_argument("--target", required=True, metavar="T", help="jetson")
    parser.add_argument("--precision", default="int8", choices=("int8", "fp32"))
    parser.add_argument("--out", type=Path, required=True, metavar="PLAN", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Build and write the plan."""
    from orthoedge.runtime.bundles import read_bundle
    from orthoedge.runtime.errors import UnknownTarget
    from orthoedge.runtime.files import write_atomic
    from orthoedge.targets import TARGETS
    from orthoedge.targets.jetson.build import build_plan

    if args.target not in TARGETS:
        raise UnknownTarget(f"target {args.target!r} is unknown: only jetson takes a plan")
    if args.target != "jetson":
        raise UnknownTarget(f"target {args.target!r} needs no plan: only jetson does")
    plan = build_plan(read_bundle(args.bundle).model(args.precision))
    for warning in plan.warnings:
        print(f"tensorrt: {warning}", file=sys.stderr)
    write_atomic(args.out, plan.data)
    print(f"plan: {args.out}, {len(plan.data) / 1e6:.1f} MB; not yet measured on hardware")
    return 0
