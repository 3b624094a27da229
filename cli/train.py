"""`orthoedge train`: from an index of radiographs to a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli.options import let_threads_sleep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="orthovision, fracture-binary, tiny, or the path of a TOML file",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder with index.csv or with one sub-folder per class, or a CSV file",
    )
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--set",
        metavar="K=V",
        action="append",
        default=[],
        help="change one setting of the recipe, such as preprocess.size=128; may be repeated",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        type=Path,
        help="safetensors to start from: another run's model, or a timm backbone's",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run in RUN")


def run(args: argparse.Namespace) -> int:
    """Train; return 0."""
    let_threads_sleep()
    from orthoedge.training.recipe import load_recipe

    recipe = load_recipe(args.recipe, args.set)  # a typing slip is told before torch is loaded

    from orthoedge.training.data import check_labels, read_index
    from orthoedge.training.loop import fit

    data: Path = args.data
    root = data if data.is_dir() else data.parent
    studies = read_index(data)
    check_labels(studies, recipe.labels)
    fit(recipe, studies, args.out, args.weights, args.resume, data=root)
    return 0
