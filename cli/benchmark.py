"""`orthoedge benchmark`: latency of a bundle on this machine, beside the seeds' way."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DEFAULT_TARGETS = ("x86", "portable")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "bundles", metavar="BUNDLE", nargs="*", type=Path, help="default: the embedded bundle"
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="T",
        help=f"repeatable; default: {' and '.join(DEFAULT_TARGETS)}",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="radiographs to time on; default: one phantom"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.json and report.md")
    parser.add_argument("--rounds", type=_positive, default=200, metavar="N", help="default: 200")
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="of every engine; default: one per core"
    )
    parser.add_argument(
        "--seeds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also time the two-network PyTorch pipeline with pytorch-grad-cam; needs the dev "
        "extra",
    )


def run(args: argparse.Namespace) -> int:
    """Time every bundle, print its table, and write it under --out.

    Returns:
        0, or 1 if a target named by --target could not be measured.
    """
    from orthoedge.benchmarks import report
    from orthoedge.runtime.bundles import EMBEDDED, read_bundle

    status = 0
    bundles = [read_bundle(path) for path in args.bundles or [EMBEDDED]]
    for bundle in bundles:
        print(f"timing {bundle.path}, {args.rounds} rounds", file=sys.stderr, flush=True)
        found = report.benchmark(
            bundle,
            args.target or DEFAULT_TARGETS,
            args.rounds,
            args.data,
            seeds=args.seeds,
            threads=args.threads,
        )
        print(report.to_markdown(found))
        if args.out is not None:
            folder = args.out / bundle.path.stem if len(bundles) > 1 else args.out
            report.write_report(found, folder)
        if args.target and any(missing.what != report.SEEDS for missing in found.missing):
            status = 1
    return status


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
