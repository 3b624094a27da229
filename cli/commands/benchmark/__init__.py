"""`orthoedge benchmark run|compare|claims|training`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from orthoedge.cli.options import let_threads_sleep, named_bundle, positive
from orthoedge.runtime.errors import ConfigError

EPOCHS, STEPS = 10, 20  # a timed stretch of steps includes the start of an epoch

_ACTIONS = ("run", "compare", "claims", "training")
_OLD_CLAIMS = {
    "seeds": "baseline",
    "bare": "minimal_pipeline",
    "map": "saliency_map",
    "start": "start,cached_start",
    "memory": "memory,cached_memory",
    "folder": "folder_bound,folder_jobs",
    "peers": "onnxruntime_by_hand,external",
}
_WITH_VALUE = ("--out", "--threads", "--rounds", "--external")
_OLD_OPTIONS = {"--seeds": "--baseline", "--no-seeds": "--no-baseline", "--peer": "--external"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions to the command's parser."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, add, summary in (
        ("run", _add_run, "measure bundles: latency, accuracy, footprint, on every target"),
        ("compare", _add_compare, "compare two reports; exit with 1 if a figure changed"),
        ("claims", _add_claims, "check the published limits on speed and memory"),
        ("training", _add_training, "images per second of the training loop"),
    ):
        add(actions.add_parser(name, help=summary, description=summary))


def rewrite_arguments(arguments: Sequence[str]) -> list[str]:
    """Translate the options of earlier versions, given after `benchmark`, to actions.

    Raises:
        ConfigError: --cpu-quota, which has been removed.
    """
    given = list(arguments)
    if any(argument.split("=")[0] == "--cpu-quota" for argument in given):
        raise ConfigError(
            "--cpu-quota has been removed: run the benchmark under systemd-run --user --scope "
            "-p CPUQuota=50% orthoedge benchmark run"
        )
    if given and given[0] in (*_ACTIONS, "-h", "--help"):
        return given
    given = [
        _OLD_OPTIONS.get(name, name) + sign + value
        for name, sign, value in (argument.partition("=") for argument in given)
    ]
    if "--compare" in given:
        given.remove("--compare")
        return ["compare", *given]
    for option, action in (("--training", "training"), ("--ratios", "claims")):
        for place, argument in enumerate(given):
            name, _, attached = argument.partition("=")
            if name == option:
                after = [*([attached] if attached else []), *given[place + 1 :]]
                if action == "training":
                    return [action, *after, *given[:place]]
                return [action, *_old_claims(given[:place], after)]
    return ["run", *given]


def _old_claims(before: list[str], after: list[str]) -> list[str]:
    """`[BUNDLE] --ratios [NAMES]` as a choice of claims of one bundle."""
    names, bundle, options = list[str](), list[str](), list[str]()
    if after and not after[0].startswith("-"):
        given = after.pop(0).split(",")
        names = ",".join(_OLD_CLAIMS.get(name, name) for name in given).split(",")
    rest = iter([*before, *after])
    for argument in rest:
        if argument.startswith("-"):
            options += [argument, *([next(rest, "")] if argument in _WITH_VALUE else [])]
        else:
            bundle += ["--bundle", argument]
    return [*names, *bundle, *options]


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundles",
        metavar="BUNDLE",
        nargs="*",
        type=named_bundle,
        help="folder or .zip, or phantom (default: the bundle inside the package)",
    )
    parser.add_argument(
        "--target", action="append", metavar="T", help="repeatable; default: x86 and portable"
    )
    _add_mode(parser)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="radiographs to time, and with labels to measure accuracy on; default: phantoms, and "
        "no accuracy of a bundle from radiographs",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="RUN_OR_ONNX",
        help="the float32 ensemble: a training run or an ONNX file; default: random weights, which "
        "are only timed",
    )
    _add_common(parser, "write report.json, report.md and report.html")
    parser.add_argument(
        "--isa", metavar="LIMIT", help="limit x86 to an instruction set, such as AVX2"
    )
    parser.add_argument(
        "--fail-if",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPR",
        help="exit with 1 if a condition holds, such as 'p90_ms>2' or "
        "'accuracy[x86 int8].macro_f1<0.93'",
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="A", type=Path, help="a report.json")
    parser.add_argument("after", metavar="B", type=Path, help="a later report.json")


def _add_claims(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "given",
        metavar="REPORT_OR_NAME",
        nargs="*",
        help="a report.json of `run`, and names of claims; default: measure, all claims",
    )
    parser.add_argument(
        "--bundle",
        type=named_bundle,
        metavar="BUNDLE",
        help="to measure: folder or .zip, or phantom (default: the bundle inside the package)",
    )
    _add_mode(parser)
    parser.add_argument(
        "--rounds", type=positive, metavar="N", help="in each process, in place of a duration"
    )
    _add_common(parser, "write claims.md, and the report that was measured")


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name or file")
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        default=EPOCHS,
        help=f"timed stretches of {STEPS} steps; default {EPOCHS}",
    )
    parser.add_argument(
        "--set",
        metavar="K=V",
        action="append",
        default=[],
        help="change one setting of the recipe; repeatable",
    )


def _add_mode(parser: argparse.ArgumentParser) -> None:
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="under 2 minutes, wider intervals")
    mode.add_argument("--full", action="store_true", help="MLPerf's own durations: hours")


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of every engine; default: one per core"
    )
    parser.add_argument(
        "--baseline",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="time the two-network PyTorch pipeline with pytorch-grad-cam; needs the dev extra",
    )
    parser.add_argument(
        "--external",
        type=_external,
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="also time another program, as docs/how/peers.md describes; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Carry out an action.

    Returns:
        0; 1 if a named target, claim or program could not be measured, a condition of --fail-if
        holds, or the compared reports differ; 130 if interrupted.
    """
    if args.action == "compare":
        from orthoedge.benchmarks.regression import compare
        from orthoedge.benchmarks.schema import read_report

        comparison = compare(read_report(args.before), read_report(args.after))
        print("\n".join(comparison.lines))
        return int(comparison.changed)
    if args.action == "training":
        return _time_training(args)
    from orthoedge.cli.commands.benchmark.measure import check_claims, measure_bundles

    return check_claims(args) if args.action == "claims" else measure_bundles(args)


def _time_training(args: argparse.Namespace) -> int:
    let_threads_sleep()
    from orthoedge.training.recipe_file import load_recipe

    recipe = load_recipe(args.recipe, args.set)

    from orthoedge.training.throughput import throughput

    result = throughput(recipe, STEPS, args.rounds)
    print(f"{recipe.name}, batch {recipe.batch} at {recipe.preprocess.size} px: {result.line()}")
    return 0


def _external(text: str) -> tuple[str, str]:
    name, sign, command = text.partition("=")
    if not (name and sign and command.strip()):
        raise argparse.ArgumentTypeError(f"expected NAME=COMMAND, got {text!r}")
    return name, command
