"""`orthoedge benchmark`: latency of a bundle on this machine, or throughput of training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orthoedge.cli.options import let_threads_sleep

DEFAULT_TARGETS = ("x86", "portable")
ROUNDS = 200
STRETCHES, STEPS = 10, 20  # a stretch is a small epoch: what begins it weighs a twentieth


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
    parser.add_argument(
        "--rounds",
        type=_positive,
        metavar="N",
        help=f"default: {ROUNDS}; {STRETCHES} with --training",
    )
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
    parser.add_argument(
        "--training",
        metavar="RECIPE",
        help=f"instead: images per second of {STEPS} steps of the training loop, beside the bare "
        "forward-backward step",
    )
    parser.add_argument(
        "--set",
        metavar="K=V",
        action="append",
        default=[],
        help="with --training: change one setting of the recipe; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Time every bundle, print its table, and write it under --out.

    Returns:
        0, or 1 if a target named by --target could not be measured.
    """
    if args.training is not None:
        return _time_training(args)
    from orthoedge.benchmarks import report
    from orthoedge.runtime.bundles import EMBEDDED, read_bundle

    status = 0
    rounds = args.rounds or ROUNDS
    bundles = [read_bundle(path) for path in args.bundles or [EMBEDDED]]
    for bundle in bundles:
        print(f"timing {bundle.path}, {rounds} rounds", file=sys.stderr, flush=True)
        found = report.benchmark(
            bundle,
            args.target or DEFAULT_TARGETS,
            rounds,
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


def _time_training(args: argparse.Namespace) -> int:
    let_threads_sleep()
    from orthoedge.training.recipe_file import load_recipe

    recipe = load_recipe(args.training, args.set)

    from orthoedge.training.throughput import throughput

    found = throughput(recipe, STEPS, args.rounds or STRETCHES)
    print(f"{recipe.name}, batch {recipe.batch} at {recipe.preprocess.size} px: {found.line()}")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
