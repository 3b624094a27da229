"""`orthoedge compress`: from a trained run to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli.options import add_cache, let_threads_sleep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of orthoedge train")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="must not exist")
    parser.add_argument("--student", metavar="NAME", help="timm name (default: the recipe's)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where the data lies now, if it has moved"
    )
    parser.add_argument(
        "--target", default="x86", metavar="T", help="whose latency decides about pruning"
    )
    parser.add_argument(
        "--set",
        metavar="K=V",
        action="append",
        default=[],
        help="change one setting of the recipe, such as compress.epochs=5; may be repeated",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="safetensors the student starts from: a run's model, or a timm backbone's; by "
        "default RUN's own where the student is its very network",
    )
    parser.add_argument(
        "--data-licence", default="not stated", metavar="TEXT", help="for the model card"
    )
    add_cache(parser)


def run(args: argparse.Namespace) -> int:
    """Compress; 0 and a bundle, or 1 and the gate's report."""
    let_threads_sleep()

    from orthoedge.compression.bundle import check_free
    from orthoedge.targets import check_target

    check_free(args.out)
    check_target(args.target)

    from orthoedge.compression.chain import compress
    from orthoedge.runtime.errors import RecipeError
    from orthoedge.training.comparison import refuse_comparison
    from orthoedge.training.data.cache import cache_folder
    from orthoedge.training.recipe_file import override_recipe
    from orthoedge.training.run import load_run

    refuse_comparison(args.run)
    trained = load_run(args.run, args.data)
    student = [] if args.student is None else [f"compress.student={args.student}"]
    for setting in args.set:
        if not setting.startswith("compress."):
            raise RecipeError(f"--set {setting}: only keys of compress can change after training")
    recipe = override_recipe(trained.recipe, student + args.set)
    cache = args.cache or cache_folder()
    bundle = compress(
        trained, recipe, args.out, args.target, args.data_licence, args.weights, cache
    )
    metrics = bundle.manifest.metrics
    for precision in ("fp32", "int8"):
        part = metrics[precision]  # type: ignore[index]
        print(f"{precision}: accuracy {part.accuracy:.4f}, macro-F1 {part.macro_f1:.4f}")
    print(f"bundle: {args.out}")
    return 0
