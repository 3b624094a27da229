"""`orthoedge evaluate`: what a finished run is worth on a labelled set it has not seen."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from orthoedge.cli.options import let_threads_sleep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of orthoedge train")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="labelled set: folder with index.csv or with one sub-folder per class, or a CSV file",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder for the report; written over"
    )
    parser.add_argument(
        "--run-data", metavar="DIR", type=Path, help="where the run's own data lies, if it moved"
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="go on where the run was trained or chosen on some of the images; the report says so",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the headline; return 0."""
    let_threads_sleep()

    from orthoedge.runtime.errors import DataError
    from orthoedge.training.comparison import refuse_comparison
    from orthoedge.training.data.labels import choose_studies
    from orthoedge.training.data.radiographs import Radiographs
    from orthoedge.training.data.shortcuts import audit
    from orthoedge.training.data.studies import read_index
    from orthoedge.training.evaluation.evaluate import evaluate, seen_studies
    from orthoedge.training.evaluation.text import lines
    from orthoedge.training.evaluation.writing import write_evaluation
    from orthoedge.training.run import load_run

    refuse_comparison(args.run)
    index = read_index(args.data)
    trained = load_run(args.run, args.run_data)
    recipe = trained.recipe
    chosen = choose_studies(index, recipe)
    if chosen.left_out:
        print(chosen.line(), file=sys.stderr)
    seen = seen_studies(chosen.studies, trained.split)
    if seen and not args.allow_seen:
        raise DataError(
            f"{args.data}: {len(seen)} of {len(chosen.studies)} images are ones that {args.run} "
            f"was trained or chosen on, such as {seen[0].path}; give data it has not seen, or "
            "--allow-seen"
        )
    try:
        shortcuts = audit(chosen.studies, recipe.labels, recipe.split.seed)
    except DataError as error:  # too few groups for an audit are no reason not to evaluate
        print(f"no shortcut audit: {error}", file=sys.stderr)
        shortcuts = None
    data = Radiographs(chosen.studies, recipe.labels, recipe.preprocess)
    if recipe.augment.crop:
        data = data.cropped(recipe.augment.crop, recipe.seed)
    report = write_evaluation(
        args.out,
        evaluate(trained.model, data),
        data,
        recipe,
        trained.model,
        shortcuts,
        _command(args),
        len(seen),
    )
    for line in shortcuts.lines() if shortcuts is not None else []:
        print(line, file=sys.stderr)
    for line in lines(report):
        print(line)
    print(f"report: {args.out}")
    return 0


def _command(args: argparse.Namespace) -> str:
    words = ["orthoedge", "evaluate", str(args.run), "--data", str(args.data)]
    words += ["--out", str(args.out)]
    if args.run_data is not None:
        words += ["--run-data", str(args.run_data)]
    if args.allow_seen:
        words.append("--allow-seen")
    return shlex.join(words)
