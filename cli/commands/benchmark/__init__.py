"""`orthoedge benchmark`: a bundle measured here, its ratios, or throughput of training."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli.options import above_zero, let_threads_sleep, positive
from orthoedge.runtime.errors import ConfigError

ROUNDS = 200
STRETCHES, STEPS = 10, 20  # a stretch is a small epoch: what begins it weighs a twentieth

_RUN = "bundles target quick full data reference out threads isa cpu_quota fail_if no_seeds"
_GOES_WITH = {
    "": _RUN.split(),
    "compare": [],
    "ratios": ["bundles", "out", "threads", "rounds", "peer"],
    "training": ["rounds", "set"],
}
"""Options that mean something to a run of the benchmark, and to what is done instead."""
_KNOWN = {name for names in _GOES_WITH.values() for name in names}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "bundles", metavar="BUNDLE", nargs="*", type=Path, help="default: the embedded bundle"
    )
    parser.add_argument(
        "--target", action="append", metavar="T", help="repeatable; default: x86 and portable"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="under 2 minutes, wider intervals")
    length.add_argument("--full", action="store_true", help="by MLPerf's rules on durations: hours")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="radiographs to time on, and with labels to judge on; default: phantoms",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="RUN_OR_ONNX",
        help="the float32 ensemble: a training run, or an ONNX file; default: random weights, for "
        "its time only",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write report.json, report.md and report.html; with --ratios ratios.json and "
        "ratios.md",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of every engine; default: one per core"
    )
    parser.add_argument(
        "--isa",
        metavar="CAP",
        help="as on a processor with no wider instructions, such as AVX2; x86 only",
    )
    parser.add_argument(
        "--cpu-quota",
        type=above_zero,
        metavar="CORES",
        help="keep to so many cores' time, by a control group",
    )
    parser.add_argument(
        "--fail-if",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPR",
        help="exit with 1 where one holds, such as 'p90_ms>2' or 'macro_f1<0.93'",
    )
    parser.add_argument(
        "--seeds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also time the two-network PyTorch pipeline with pytorch-grad-cam; needs the dev "
        "extra",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="instead: what changed from one report.json to another; exit with 1 if anything did "
        "by more than noise",
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
        "--rounds",
        type=positive,
        metavar="N",
        help=f"with --ratios, default {ROUNDS}: what takes long is called less often; with "
        f"--training, default {STRETCHES}",
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
    """Measure, or do what is to be done instead.

    Returns:
        0; 1 if what was named could not be measured, a condition of --fail-if holds, or --compare
        found a change; 130 if it was interrupted.

    Raises:
        RecipeError: options that exclude each other.
    """
    _check_alone(args)
    if args.compare is not None:
        return _compare(*args.compare)
    if args.ratios is not None:
        return _measure_ratios(args)
    if args.training is not None:
        return _time_training(args)
    from orthoedge.cli.commands.benchmark.run import measure_bundles

    return measure_bundles(args)


def _check_alone(args: argparse.Namespace) -> None:
    """Refuse options that mean nothing to what was asked for."""
    instead = [n for n in ("compare", "ratios", "training") if getattr(args, n) is not None]
    if len(instead) > 1:
        raise ConfigError(f"--{instead[0]} and --{instead[1]} exclude each other")
    doing = instead[0] if instead else ""
    given = [name for name in vars(args) if name in _KNOWN and getattr(args, name)]
    given += [] if args.seeds else ["no_seeds"]
    for name in given:
        if name not in _GOES_WITH[doing]:
            option = "BUNDLE" if name == "bundles" else f"--{name.replace('_', '-')}"
            what = f"--{doing}" if doing else "a run of the benchmark"
            raise ConfigError(f"{option} does not go with {what}")


def _compare(before: Path, after: Path) -> int:
    from orthoedge.benchmarks.regression import compare, read_report

    found = compare(read_report(before), read_report(after))
    print("\n".join(found.lines))
    return int(found.changed)


def _measure_ratios(args: argparse.Namespace) -> int:
    from orthoedge.benchmarks.ratio_rows import to_markdown, write_ratios
    from orthoedge.benchmarks.ratios import NAMES, measure
    from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle

    if len(args.bundles) > 1:
        raise ConfigError("--ratios takes one bundle")
    peers = dict(args.peer)
    if len(peers) < len(args.peer):
        raise ConfigError("--peer: two peers of one name")
    if peers and "peers" not in (args.ratios or NAMES):
        raise ConfigError("--peer: peers is not among the names of --ratios")
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
