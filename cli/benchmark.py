"""`orthoedge benchmark`: latency of a bundle here, its ratios, or throughput of training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orthoedge.cli.options import let_threads_sleep, positive
from orthoedge.runtime.errors import RecipeError

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
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write report.json and report.md; with --ratios ratios.json and ratios.md",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help=f"default: {ROUNDS}; {STRETCHES} with --training; with --ratios what takes long is "
        "called less often",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of every engine; default: one per core"
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
        "--ratios",
        nargs="?",
        const="",
        type=_names,
        metavar="NAME[,NAME...]",
        help="instead: the promises about speed, each beside what it is compared with and its "
        "limit: seeds, bare, map, dicom, start, memory, import, folder, peers; default: all",
    )
    parser.add_argument(
        "--peer",
        type=_peer,
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="with --ratios: a peer's program, as docs/peers.md describes it; may be repeated",
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
        0, or 1 if what was named by --target, --ratios or --peer could not be measured.

    Raises:
        RecipeError: options that exclude each other.
    """
    if args.ratios is not None:
        return _measure_ratios(args)
    if args.peer:
        raise RecipeError("--peer belongs to --ratios")
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


def _measure_ratios(args: argparse.Namespace) -> int:
    from orthoedge.benchmarks.ratio_rows import to_markdown, write_ratios
    from orthoedge.benchmarks.ratios import NAMES, measure
    from orthoedge.runtime.bundles import EMBEDDED, read_bundle

    if args.training is not None or args.target or args.data is not None or len(args.bundles) > 1:
        raise RecipeError("--ratios takes one bundle on x86, and no --target, --data or --training")
    peers = dict(args.peer)
    if len(peers) < len(args.peer):
        raise RecipeError("--peer: two peers of one name")
    if peers and "peers" not in (args.ratios or NAMES):
        raise RecipeError("--peer: peers is not among the names of --ratios")
    bundle = read_bundle(args.bundles[0] if args.bundles else EMBEDDED)
    found = measure(bundle, args.ratios or NAMES, args.rounds or ROUNDS, args.threads, peers)
    print(to_markdown(found))
    if args.out is not None:
        write_ratios(found, args.out)
    asked = {*args.ratios, *(f"peer {name}" for name in peers), *(["peers"] if peers else [])}
    return int(any(missing.what in asked for missing in found.missing))


def _time_training(args: argparse.Namespace) -> int:
    let_threads_sleep()
    from orthoedge.training.recipe_file import load_recipe

    recipe = load_recipe(args.training, args.set)

    from orthoedge.training.throughput import throughput

    found = throughput(recipe, STEPS, args.rounds or STRETCHES)
    print(f"{recipe.name}, batch {recipe.batch} at {recipe.preprocess.size} px: {found.line()}")
    return 0


def _names(text: str) -> tuple[str, ...]:
    """Names of ratios; none for all."""
    from orthoedge.benchmarks.ratios import NAMES

    names = tuple(text.split(",")) if text else ()
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is unknown: choose of {', '.join(NAMES)}")
    return names


def _peer(text: str) -> tuple[str, str]:
    name, sign, command = text.partition("=")
    if not (name and sign and command.strip()):
        raise argparse.ArgumentTypeError(f"expected NAME=COMMAND, got {text!r}")
    return name, command
