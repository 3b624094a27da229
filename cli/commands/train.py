"""`orthoedge train`: from an index of radiographs to a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.options import add_cache, let_threads_sleep
from orthoedge.cli.terminal import quiet_libraries

if TYPE_CHECKING:
    from orthoedge.training.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from orthoedge.training.recipes import recipe_names

    text = f"{', '.join(recipe_names())}, or the path of a TOML file; or a finished run, whose "
    text += "classifier gets a decoder of lesion masks"
    parser.add_argument("recipe", metavar="RECIPE", help=text)
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder with index.csv or with one sub-folder per class, or a CSV file",
    )
    parser.add_argument(
        "--out", metavar="RUN", type=Path, required=True, help="folder of the run or runs"
    )
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
        action="append",
        default=[],
        help="safetensors to start from: another run's model, or a timm backbone's; or imagenet "
        "for timm's own of every backbone, from the model hub or its cache; may be repeated; to "
        "compare several networks, a folder with BACKBONE.safetensors for each",
    )
    add_cache(parser)
    parser.add_argument(
        "--leave-out",
        choices=("site", "source"),
        help="train one network for each site, or source, on all the others, and measure it there",
    )
    parser.add_argument(
        "--mask-teacher",
        metavar="RUN",
        type=Path,
        help="finished run of unet-region, whose outlines a decoder of lesion masks learns too",
    )
    parser.add_argument(
        "--outlines",
        metavar="RUN",
        type=Path,
        help="finished run of unet-region: train the classifier of the region that it outlines",
    )
    parser.add_argument("--resume", action="store_true", help="continue a stopped run in RUN")


def run(args: argparse.Namespace) -> int:
    """Train one network, or all that the recipe compares, or its segmentation stage; return 0."""
    let_threads_sleep()
    from orthoedge.runtime.errors import ConfigError
    from orthoedge.training.recipe_file import load_recipe
    from orthoedge.training.recipes import recipe_names

    if args.recipe not in recipe_names() and Path(args.recipe).is_dir():
        with quiet_libraries():
            _train_masks(args)
        return 0
    if args.mask_teacher is not None:
        raise ConfigError("--mask-teacher: goes with a finished run in the place of RECIPE")
    recipe = load_recipe(args.recipe, args.set)  # a typing error is reported before torch is loaded
    with quiet_libraries():
        report = _train(args, recipe)
    if report is not None:
        print(report)
    return 0


def _train_masks(args: argparse.Namespace) -> None:
    """Train a decoder of lesion masks on the classifier of a run."""
    from orthoedge.runtime.errors import ConfigError
    from orthoedge.training.comparison import check_not_comparison
    from orthoedge.training.data.cache import cache_folder
    from orthoedge.training.masks.fit import fit_masks
    from orthoedge.training.progress import Progress
    from orthoedge.training.recipe_file import override_recipe
    from orthoedge.training.run_folder import load_run
    from orthoedge.training.segmentation.fit import load_segmentation

    if args.weights or args.leave_out or args.outlines:
        text = "not with a finished run in the place of RECIPE"
        raise ConfigError(f"--weights, --leave-out, --outlines: {text}")
    for setting in args.set:
        if not setting.startswith("mask."):
            raise ConfigError(f"--set {setting}: only keys of mask can change after training")
    source, data = Path(args.recipe), args.data
    check_not_comparison(source)
    root = data if data.is_dir() else data.parent
    run = load_run(source, root)
    recipe = override_recipe(run.recipe, args.set)
    teacher = None if args.mask_teacher is None else load_segmentation(args.mask_teacher)
    cache = args.cache or cache_folder()
    with Progress("train"):
        fit_masks(run, recipe, args.out, teacher, args.resume, data=root, cache=cache)


def _train(args: argparse.Namespace, recipe: Recipe) -> Path | None:
    """Train; return the report to name on stdout, if there is one."""
    from orthoedge.runtime.errors import ConfigError
    from orthoedge.training.comparison import compare, is_compared
    from orthoedge.training.data.cache import cache_folder
    from orthoedge.training.data.index import read_index, select_records
    from orthoedge.training.fit import fit
    from orthoedge.training.progress import Progress, log_progress

    data: Path = args.data
    root = data if data.is_dir() else data.parent
    chosen = select_records(read_index(data), recipe)
    if chosen.left_out:
        log_progress(chosen.line())
    out, records, cache = args.out, chosen.records, args.cache or cache_folder()
    with Progress("train"):
        if args.outlines is not None:
            from orthoedge.training.region_fit import fit_region
            from orthoedge.training.segmentation.fit import load_segmentation

            if args.leave_out:
                raise ConfigError("--leave-out: not with --outlines, whose U-Net has one split")
            unet = load_segmentation(args.outlines, root)
            fit_region(unet, recipe, out, args.weights, args.resume, data=root, cache=cache)
            return None
        if recipe.segmentation is not None:
            from orthoedge.training.segmentation.fit import fit_segmentation

            if args.leave_out:
                raise ConfigError("--leave-out: is about classifiers, not about segmentation")
            fit_segmentation(
                recipe, records, out, args.weights, args.resume, data=root, cache=cache
            )
            return None
        if args.leave_out:
            from orthoedge.training.evaluation.leave_out import MARKDOWN, leave_one_out

            given = (args.leave_out, args.weights, args.resume, root, cache)
            leave_one_out(recipe, records, out, *given)
            return Path(out / MARKDOWN)
        train = compare if is_compared(recipe) else fit
        train(recipe, records, out, args.weights, args.resume, data=root, cache=cache)
    return None
