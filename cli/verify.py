"""`orthoedge verify`: is this bundle what it says, and does it answer here as it did there."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli.options import add_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "bundle", type=Path, nargs="?", metavar="BUNDLE", help="default: the one in the package"
    )
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per check; exit 1 if any fails."""
    from orthoedge.runtime.bundles import EMBEDDED, read_bundle
    from orthoedge.runtime.engine import PRECISIONS
    from orthoedge.runtime.errors import BundleError, EngineError
    from orthoedge.targets import check_target, open_engine
    from orthoedge.targets.parity import check_engine

    path = EMBEDDED if args.bundle is None else args.bundle
    check_target(args.target)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle")
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        print(f"FAIL  {error}")
        return 1
    print(f"pass  {path}: {bundle.manifest.name}, every file matches its SHA-256")
    failed = False
    precisions = PRECISIONS if args.precision == "auto" else (args.precision,)
    for precision in precisions:
        try:
            checks = check_engine(bundle, open_engine(bundle, args.target, precision))
        except (BundleError, EngineError) as error:
            print(f"FAIL  {precision}: {error}")
            failed = True
            continue
        for check in checks:
            print(check)
            failed |= not check.passed
    return 1 if failed else 0
