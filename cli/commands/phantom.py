"""`orthoedge phantom`: render a labelled set of phantom radiographs with lesion masks."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to fill")
    positive = partial(_whole, least=1)
    side = partial(_whole, least=32, most=4096)  # the smallest readable; what fits in memory
    parser.add_argument("--count", type=positive, default=2000, help="images (default: 2000)")
    parser.add_argument("--seed", type=_whole, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--size", type=side, default=256, help="side in pixels (default: 256)")
    parser.add_argument("--jobs", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--force", action="store_true", help="overwrite an existing set")


def _whole(text: str, least: int = 0, most: int | None = None) -> int:
    value = int(text) if text.isdecimal() else None
    if value is None or value < least or (most is not None and value > most):
        limits = f"{least} or more" if most is None else f"{least} to {most}"
        raise argparse.ArgumentTypeError(f"expected {limits}, got {text}")
    return value


def run(args: argparse.Namespace) -> int:
    """Render; return 0.

    Raises:
        DataError: `--out` already holds an index and `--force` is not given.
    """
    import sys

    from tqdm import tqdm

    from orthoedge.runtime.errors import DataError
    from orthoedge.training.phantoms.render import write_phantoms

    out: Path = args.out
    if (out / "index.csv").exists() and not args.force:
        raise DataError(f"{out}: already holds an index; give --force or another --out")
    quiet = not sys.stderr.isatty()
    with tqdm(total=args.count, desc="phantoms", unit="image", disable=quiet) as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        write_phantoms(out, args.count, args.seed, args.size, args.jobs, progress)
    print(f"{args.count} phantoms in {out}")
    return 0
