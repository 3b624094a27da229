"""`orthoedge watch`: answer the radiographs of a folder as they come."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli import options
from orthoedge.runtime.errors import ConfigError

_SPOOL = ".orthoedge"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="watched with all folders below it; nothing in it is changed",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--results",
        type=Path,
        metavar="OUT",
        help="folder for the results: DICOM objects for a DICOM file, NAME.json and NAME.png for a "
        "picture",
    )
    where.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings of a node, TOML: its spool, engine and destinations are used",
    )
    parser.add_argument(
        "--spool",
        type=Path,
        metavar="DIR",
        help="folder on a local disk for what is in work, and for the record of what was taken "
        f"(default: OUT/{_SPOOL}); with --results alone",
    )
    options.add_bundle(parser)
    options.add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until SIGTERM or Ctrl-C."""
    from orthoedge.clinic.file_system import check_local
    from orthoedge.clinic.node import serve
    from orthoedge.clinic.watch.settings import (
        check_folders,
        check_outside,
        claim_folders,
        settings_places,
        write_settings,
    )

    if args.results is None:
        if args.spool or args.bundle or (args.target, args.precision) != ("x86", "auto"):
            raise ConfigError(
                "--spool, --bundle, --target and --precision go with --results; with --settings "
                "they stand in the file"
            )
        settings = check_folders(args.folder, args.settings)
        with claim_folders(args.folder, settings_places(settings)):
            return serve(args.settings, args.folder.resolve())
    spool = args.spool or args.results / _SPOOL
    check_outside(args.folder, {"--results": args.results, "the spool": spool})
    check_local("the spool", spool)
    # Before the settings are written into the spool: another watch may read them there.
    with claim_folders(args.folder, {"--results": args.results, "--spool": spool}):
        settings_file = write_settings(
            args.results,
            spool,
            bundle=args.bundle,
            target=args.target,
            precision=args.precision,
        )
        check_folders(args.folder, settings_file)
        return serve(settings_file, args.folder.resolve())
