"""`orthoedge evaluate`: evaluate a finished run on a labelled set that it has not seen."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from orthoedge.cli.options import add_cache, let_threads_sleep


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
        "--out", metavar="DIR", type=Path, required=True, help="folder for the report; overwritten"
    )
    parser.add_argument(
        "--run-data", metavar="DIR", type=Path, help="folder of the run's own data, if it has moved"
    )
    add_cache(parser)
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="continue if the run was trained or chosen on some of the images; the report says so",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the headline; return 0."""
    let_threads_sleep()

    from orthoedge.runtime.errors import DataError
    from orthoedge.training.comparison import check_not_comparison
    from orthoedge.training.data.cache import cache_folder
    from orthoedge.training.data.dataset import RadiographDataset
    from orthoedge.training.data.index import list_sha256, read_index, select_records
    from orthoedge.training.data_quality.leakage import seen_before
    from orthoedge.training.data_quality.shortcut_audit import audit
    from orthoedge.training.evaluation.markdown import report_lines
    from orthoedge.training.evaluation.predictions import evaluate
    from orthoedge.training.evaluation.report import write_evaluation
    from orthoedge.training.run_folder import load_run

    check_not_comparison(args.run)
    index = read_index(args.data)
    trained = load_run(args.run, args.run_data)
    recipe = trained.recipe
    chosen = select_records(index, recipe, every_label=False)
    if chosen.left_out:
        print(chosen.line(), file=sys.stderr)
    present = {record.label for record in chosen.records}
    if absent := [label for label in recipe.labels if label not in present]:
        text = "figures over all labels count it as 0; see those within each collection"
        print(f"no image has the label {' or '.join(absent)}: {text}", file=sys.stderr)
    cache, splits = args.cache or cache_folder(), trained.splits
    data, *known = (
        RadiographDataset(
            records,
            recipe.labels,
            recipe.preprocess,
            cache=cache,
            source_labels=recipe.source_labels,
        )
        for records in (chosen.records, splits.train, splits.val)
    )
    recorded = trained.info.training_list_sha256, trained.info.validation_list_sha256
    if tuple(list_sha256(part.records, part.digests) for part in known) != recorded:
        raise DataError(
            f"{args.run}: its images are no longer those it was trained on, so overlap with the "
            "data cannot be checked; give their folder by --run-data DIR"
        )
    seen = seen_before(data, known)
    if seen and not args.allow_seen:
        raise DataError(
            f"{args.data}: {len(seen)} of {len(chosen.records)} images are ones that {args.run} "
            f"was trained or chosen on, or look like one, such as {seen[0].path}; give data it has "
            "not seen, or --allow-seen"
        )
    try:
        labels = [label for label in recipe.labels if label in present]
        shortcuts = audit(chosen.records, labels, recipe.split.seed)
    except DataError as error:  # too few groups for an audit are no reason not to evaluate
        print(f"no shortcut audit: {error}", file=sys.stderr)
        shortcuts = None
    data = data.cropped(recipe.augment.crop, recipe.seed)
    model, command = trained.model, _command(args)
    outputs = evaluate(model, data)
    report = write_evaluation(args.out, outputs, data, recipe, model, shortcuts, command, len(seen))
    for line in shortcuts.lines() if shortcuts is not None else []:
        print(line, file=sys.stderr)
    for line in report_lines(report):
        print(line)
    print(f"report: {args.out}")
    return 0


def _command(args: argparse.Namespace) -> str:
    words = ["orthoedge", "evaluate", str(args.run)]
    words += ["--data", str(args.data), "--out", str(args.out)]
    if args.run_data is not None:
        words += ["--run-data", str(args.run_data)]
    if args.allow_seen:
        words.append("--allow-seen")
    return shlex.join(words)
