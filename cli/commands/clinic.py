"""`orthoedge clinic`: the page of a clinic."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli import options
from orthoedge.runtime.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings of the server, TOML, with TLS where other machines are to reach it",
    )
    _add_folder(parser)
    parser.add_argument(
        "--port", type=options.positive, metavar="N", help="TCP port (default: 8420)"
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open the page"
    )
    options.add_bundle(parser)
    options.add_target(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="folder of the history (default: $XDG_DATA_HOME/orthoedge/clinic or "
        "~/.local/share/orthoedge/clinic)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until SIGTERM or Ctrl-C."""
    return _serve(args)


def _serve(args: argparse.Namespace) -> int:
    from orthoedge.clinic.server.serve import serve

    def ready(address: str) -> None:
        print(f"{address}  (end with Ctrl-C)", flush=True)
        if args.browser:
            import webbrowser

            webbrowser.open(address)

    return serve(_settings(args), ready)


def _settings(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from orthoedge.clinic.server.settings import (
        ClinicSettings,
        default_folder,
        read_clinic_settings,
    )
    from orthoedge.clinic.settings import EngineSettings

    if args.settings:
        if (
            args.folder
            or args.port
            or args.bundle
            or (args.target, args.precision) != ("x86", "auto")
        ):
            raise ConfigError(
                "--folder, --port, --bundle, --target and --precision stand in the file of --settings"
            )
        return read_clinic_settings(args.settings)
    bundle = "" if args.bundle is None else str(args.bundle.absolute())
    return ClinicSettings(
        folder=str((args.folder or default_folder()).absolute()),
        port=args.port or 8420,
        engine=EngineSettings(bundle=bundle, target=args.target, precision=args.precision),
    )
