"""`orthoedge evaluate`: evaluate a finished run on a labelled set that it has not seen."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orthoedge.cli.options import add_cache, let_threads_sleep

if TYPE_CHECKING:
    from orthoedge.training.data.dataset import RadiographDataset
    from orthoedge.training.data.index import ImageRecord
    from orthoedge.training.recipe import Recipe
    from orthoedge.training.run_folder import RunInfo

Data = TypeVar("Data", bound="RadiographDataset")


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

    from orthoedge.training.comparison import check_not_comparison
    from orthoedge.training.data.index import read_index
    from orthoedge.training.run_folder import read_finished_recipe

    check_not_comparison(args.run)
    index = read_index(args.data)
    outlines = read_finished_recipe(args.run).segmentation is not None
    lines = _evaluate_outlines(args, index) if outlines else _evaluate_labels(args, index)
    for line in lines:
        print(line)
    print(f"report: {args.out}")
    return 0


def _evaluate_labels(args: argparse.Namespace, index: Sequence[ImageRecord]) -> list[str]:
    """Evaluate a classifier; return the headline."""
    from orthoedge.runtime.errors import DataError
    from orthoedge.training.data_quality.shortcut_audit import audit
    from orthoedge.training.evaluation.markdown import report_lines
    from orthoedge.training.evaluation.predictions import evaluate
    from orthoedge.training.evaluation.report import write_evaluation
    from orthoedge.training.masks.evaluate import dataset_of, evaluate_masks
    from orthoedge.training.masks.network import outliner
    from orthoedge.training.run_folder import load_run

    trained = load_run(args.run, args.run_data)
    recipe = trained.recipe
    chosen = _choose(index, recipe)
    present = {record.label for record in chosen}
    if absent := [label for label in recipe.labels if label not in present]:
        text = "figures over all labels count it as 0; see those within each collection"
        print(f"no image has the label {' or '.join(absent)}: {text}", file=sys.stderr)
    parts = chosen, trained.splits.train, trained.splits.val
    data, *known = (_read(dataset_of(recipe), records, recipe, args) for records in parts)
    seen = _count_seen(args, trained.info, data, known)
    try:
        labels = [label for label in recipe.labels if label in present]
        shortcuts = audit(chosen, labels, recipe.split.seed)
    except DataError as error:  # too few groups for an audit are no reason not to evaluate
        print(f"no shortcut audit: {error}", file=sys.stderr)
        shortcuts = None
    whole, data = data, data.cropped(recipe.augment.crop, recipe.seed)
    model, command = trained.model, _command(args)
    outputs = evaluate(model, data)
    report = write_evaluation(args.out, outputs, data, recipe, model, shortcuts, command, seen)
    for line in shortcuts.lines() if shortcuts is not None else []:
        print(line, file=sys.stderr)
    return report_lines(report) + evaluate_masks(
        outliner(model), whole, recipe, args.out, command, seen
    )


def _evaluate_outlines(args: argparse.Namespace, index: Sequence[ImageRecord]) -> list[str]:
    """Evaluate a segmentation stage; return the headline."""
    from orthoedge.runtime.errors import DataError
    from orthoedge.training.segmentation.data import OutlinedDataset, outlined
    from orthoedge.training.segmentation.fit import load_segmentation
    from orthoedge.training.segmentation.markdown import report_lines
    from orthoedge.training.segmentation.predictions import outline
    from orthoedge.training.segmentation.report import write_report

    trained = load_segmentation(args.run, args.run_data)
    recipe = trained.recipe
    chosen = _choose(index, recipe)
    outlines_known = outlined(chosen)
    if not outlines_known:
        raise DataError(f"{args.data}: no image has a mask or the label non-affected")
    if left := len(chosen) - len(outlines_known):
        print(f"left out {left} images: a lesion without a mask", file=sys.stderr)
    parts = outlines_known, trained.splits.train, trained.splits.val
    data, *known = (_read(OutlinedDataset, records, recipe, args) for records in parts)
    seen = _count_seen(args, trained.info, data, known)
    outlines = outline(trained.model, data)
    return report_lines(write_report(args.out, outlines, data, recipe, _command(args), seen))


def _choose(index: Sequence[ImageRecord], recipe: Recipe) -> tuple[ImageRecord, ...]:
    from orthoedge.training.data.index import select_records

    chosen = select_records(index, recipe, every_label=False)
    if chosen.left_out:
        print(chosen.line(), file=sys.stderr)
    return chosen.records


def _read(
    kind: type[Data], records: Sequence[ImageRecord], recipe: Recipe, args: argparse.Namespace
) -> Data:
    from orthoedge.training.data.cache import cache_folder

    return kind(
        records,
        recipe.labels,
        recipe.preprocess,
        cache=args.cache or cache_folder(),
        source_labels=recipe.source_labels,
    )


def _count_seen(
    args: argparse.Namespace,
    info: RunInfo,
    data: RadiographDataset,
    known: Sequence[RadiographDataset],
) -> int:
    """Count images that the run was trained or chosen on.

    Raises:
        DataError: there are some, without --allow-seen; or the run's images have changed.
    """
    from orthoedge.runtime.errors import DataError
    from orthoedge.training.data_quality.leakage import seen_before

    recorded = [info.training_list_sha256, info.validation_list_sha256]
    if [part.list_sha256 for part in known] != recorded:
        raise DataError(
            f"{args.run}: its images are no longer those it was trained on, so overlap with the "
            "data cannot be checked; give their folder by --run-data DIR"
        )
    seen = seen_before(data, known)
    if seen and not args.allow_seen:
        raise DataError(
            f"{args.data}: {len(seen)} of {len(data)} images are ones that {args.run} "
            f"was trained or chosen on, or look like one, such as {seen[0].path}; give data it has "
            "not seen, or --allow-seen"
        )
    return len(seen)


def _command(args: argparse.Namespace) -> str:
    words = ["orthoedge", "evaluate", str(args.run)]
    words += ["--data", str(args.data), "--out", str(args.out)]
    if args.run_data is not None:
        words += ["--run-data", str(args.run_data)]
    if args.allow_seen:
        words.append("--allow-seen")
    return shlex.join(words)
