"""`orthoedge compress`: from a trained run to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.options import add_cache, let_threads_sleep
from orthoedge.cli.terminal import quiet_libraries

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of orthoedge train")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="must not exist")
    parser.add_argument(
        "--students", metavar="A,B", help="timm names to try (default: the recipe's)"
    )
    parser.add_argument("--student", dest="students", metavar="A", help="the same for one name")
    parser.add_argument(
        "--prune", metavar="S,T", help="shares of the channels to remove, such as 0.3,0.5"
    )
    parser.add_argument(
        "--budget-ms",
        metavar="MS",
        help="choose the most accurate candidate whose INT8 p50 is at most MS",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the data now, if it has moved"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="labelled radiographs to calibrate on (default: half of the run's validation part)",
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="DIR",
        help="labelled radiographs to measure on (default: the run's test part)",
    )
    parser.add_argument(
        "--target",
        default="x86",
        metavar="T",
        help="target whose latency is measured and decides (default: x86)",
    )
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="train the chosen student again without single steps, to show what each contributes",
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
        help="safetensors the student starts from: a run's model or a timm backbone's, imagenet "
        "for timm's own, or a folder of STUDENT.safetensors; by default RUN's own where the "
        "student is its network",
    )
    parser.add_argument(
        "--data-licence",
        default="not stated",
        metavar="TEXT",
        help="terms of the radiographs, for manifest and model card (default: not stated)",
    )
    parser.add_argument(
        "--licence",
        type=Path,
        metavar="FILE",
        help="text that becomes the bundle's LICENSE; its first line names the terms in manifest "
        "and model card (default: no file; Apache-2.0 for phantoms, not stated for radiographs)",
    )
    add_cache(parser)


def run(args: argparse.Namespace) -> int:
    """Compress; 0 and a bundle, or 1 and the gate's report."""
    let_threads_sleep()

    from orthoedge.compression.bundle_writer import check_free
    from orthoedge.targets import check_target

    check_free(args.out)
    check_target(args.target)
    licence = _read_licence(args.licence) if args.licence else ""
    with quiet_libraries():
        bundle = _compress(args, licence)

    from orthoedge.compression.compress import report_folder

    for precision, part in bundle.manifest.metrics.items():
        print(f"{precision}: accuracy {part.accuracy:.4f}, macro-F1 {part.macro_f1:.4f}")
    print(f"bundle: {args.out}")
    print(f"report: {report_folder(args.out) / 'report.md'}")
    return 0


def _compress(args: argparse.Namespace, licence: str) -> Bundle:
    from orthoedge.compression.compress import compress
    from orthoedge.compression.context import Sources
    from orthoedge.runtime.errors import ConfigError
    from orthoedge.training.comparison import check_not_comparison
    from orthoedge.training.data.cache import cache_folder
    from orthoedge.training.progress import Progress
    from orthoedge.training.recipe_file import override_recipe
    from orthoedge.training.run_folder import load_run

    check_not_comparison(args.run)
    trained = load_run(args.run, args.data)
    for setting in args.set:
        if not setting.startswith("compress."):
            raise ConfigError(f"--set {setting}: only keys of compress can change after training")
    recipe = override_recipe(trained.recipe, _shorthands(args) + args.set)
    sources = Sources(
        cache=args.cache or cache_folder(),
        weights=args.weights,
        calibration=args.calibration,
        test=args.test,
        data_licence=args.data_licence,
        licence=licence,
    )
    with Progress("compress"):
        return compress(trained, recipe, args.out, args.target, sources, args.ablation)


def _read_licence(path: Path) -> str:
    """Read --licence before anything takes time; raises ConfigError unless it can be a LICENSE."""
    from orthoedge.runtime.errors import ConfigError

    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"--licence {path}: not a text in UTF-8") from error
    name = (text.splitlines() or [""])[0].strip()
    if not name or not name.isprintable():
        raise ConfigError(f"--licence {path}: its first line must name the licence")
    return text


def _shorthands(args: argparse.Namespace) -> list[str]:
    """Options that are settings of the recipe. A share of 0 is the whole student, always tried."""
    settings = []
    if args.students is not None:
        settings.append(f"compress.students={args.students}")
    if args.prune is not None:
        shares = [share for share in args.prune.split(",") if share.strip() not in ("0", "0.0", "")]
        settings.append(f"compress.prune={','.join(shares)}")
    if args.budget_ms is not None:
        settings.append(f"compress.budget_ms={args.budget_ms}")
    return settings
