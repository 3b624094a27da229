"""`orthoedge node`: run the DICOM node, check its settings, show what its spool holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options
from orthoedge.cli.terminal import printable, write_ascii

if TYPE_CHECKING:
    from orthoedge.clinic.settings import NodeSettings
    from orthoedge.clinic.spool.records import StateCount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, help_text in (
        ("serve", "receive images, answer them and send the results, until SIGTERM"),
        ("check", "say what is wrong with the settings, and ask every destination for an echo"),
        ("status", "show how many images and objects are in each state"),
        (
            "selftest",
            "send a radiograph to the running node, and ask every destination whether its results "
            "have arrived; its patient is Selftest^Orthoedge",
        ),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text)
        action.add_argument(
            "settings", type=Path, metavar="FILE", help="settings of the node, TOML"
        )
        if name == "selftest":
            action.add_argument(
                "--wait",
                type=options.above_zero,
                default=120.0,
                metavar="S",
                help="seconds that answering and sending on may take (default: 120)",
            )
            action.add_argument(
                "--count",
                type=options.positive,
                default=1,
                metavar="N",
                help="images to send, one after another; with more than one, print how long they "
                "took (default: 1)",
            )
            action.add_argument(
                "--host",
                default="",
                metavar="NAME",
                help="with TLS, the name of this machine in the node's certificate, which is also "
                "shown as that of the sender (default: the address that the node listens on)",
            )
        if name == "status":
            action.add_argument(
                "--json", action="store_true", help="one JSON object per line on stdout"
            )


def run(args: argparse.Namespace) -> int:
    """Run one action; `check` and `selftest` exit 1 if anything is wrong."""
    actions = {"serve": _serve, "check": _check, "status": _status, "selftest": _selftest}
    return actions[args.action](args)


def _serve(args: argparse.Namespace) -> int:
    from orthoedge.clinic.node import serve

    return serve(args.settings)


def _check(args: argparse.Namespace) -> int:
    """Print one line for each part that was checked."""
    from orthoedge.clinic.settings_file import find_problems, read_settings

    problems = find_problems(args.settings)
    for problem in problems:
        print(f"FAIL  {args.settings}: {printable(problem)}")
    if problems:
        return 1
    print(f"pass  {args.settings}: every setting is known and within its range")
    settings = read_settings(args.settings)
    failures = 0
    for what, problem in _parts(settings):
        print(f"FAIL  {what}: {printable(problem)}" if problem else f"pass  {what}", flush=True)
        failures += bool(problem)
    if not settings.destinations:
        print("note: there are no destinations, so answers stay in the spool")
    return 1 if failures else 0


def _parts(settings: NodeSettings) -> Iterator[tuple[str, str]]:
    """Each part that was checked, and what is wrong with it; empty if nothing is."""
    from orthoedge.clinic.file_system import check_folder
    from orthoedge.clinic.sending import echo

    yield f"spool {settings.spool}", _problem_of(lambda: check_folder("the spool", settings.folder))
    if history := settings.history.folder:
        yield f"history {history}", _problem_of(lambda: check_folder("the history", Path(history)))
    yield "bundle and its key", _problem_of(lambda: _check_bundle(settings))
    port = f"receiver {settings.receiver.host}, port {settings.receiver.port}"
    yield port, _problem_of(lambda: _check_receiver(settings))
    if metrics := settings.operations.metrics_port:
        port = f"metrics 127.0.0.1, port {metrics}"
        yield port, _problem_of(lambda: _check_metrics(settings))
    yield "decoders and results", _problem_of(lambda: _check_installation(settings))
    for name, destination in settings.destinations.items():
        problem = _problem_of(lambda: echo(destination, settings.ae_title))  # noqa: B023
        yield f"destination {name} answers", problem


def _problem_of(check: object) -> str:
    from orthoedge.runtime.errors import OrthoEdgeError

    assert callable(check)
    try:
        check()
    except OSError as error:
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}" if error.filename else reason
    except OrthoEdgeError as error:
        return str(error)
    return ""


def _check_bundle(settings: NodeSettings) -> None:
    from orthoedge.runtime.bundles.bundle import bundle_path, read_bundle
    from orthoedge.runtime.bundles.signature import read_key
    from orthoedge.runtime.settings import BundleTrust

    engine = settings.engine
    key = read_key(Path(engine.public_key)) if engine.public_key else None
    read_bundle(bundle_path(engine.bundle or None), trust=BundleTrust(key))


def _check_installation(settings: NodeSettings) -> None:
    """Check what the worker checks when it starts: decoders, highdicom, typst and fonts."""
    from orthoedge.clinic.making.check import check_installation

    check_installation(settings.kinds, settings.report.language)


def _check_receiver(settings: NodeSettings) -> None:
    """Check the files of TLS, the classes and the port."""
    from orthoedge.clinic.receiver.contexts import contexts
    from orthoedge.clinic.receiver.tls import server_context

    receiver = settings.receiver
    if receiver.tls is not None:
        server_context(receiver.tls)
    contexts(receiver.other_classes)
    _check_port(receiver.host, receiver.port, settings.folder, "port in [receiver]")


def _check_metrics(settings: NodeSettings) -> None:
    port = settings.operations.metrics_port
    _check_port("127.0.0.1", port, settings.folder, "metrics_port in [operations]")


def _check_port(host: str, port: int, spool: Path, setting: str) -> None:
    """Check that a port is free, or held by the node that uses the spool."""
    import socket

    from orthoedge.clinic.node import is_running
    from orthoedge.clinic.operations.ports import why_not_listening

    family, kind, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if is_running(spool):  # it holds the port itself
                return
            reason = why_not_listening(error, port, f"change {setting} of the settings")
            raise OSError(error.errno, f"cannot listen there: {reason}") from error


def _selftest(args: argparse.Namespace) -> int:
    """Print one line for each step."""
    from orthoedge.clinic.selftest.selftest import run_selftest
    from orthoedge.clinic.settings_file import read_settings

    settings = read_settings(args.settings)
    failures = 0
    for step in run_selftest(settings, args.wait, args.host, args.count):
        print(f"{'pass' if step.passed else 'FAIL'}  {printable(step.text)}", flush=True)
        failures += not step.passed
    return 1 if failures else 0


def _status(args: argparse.Namespace) -> int:
    """Print one line for each state."""
    import msgspec

    from orthoedge.clinic.settings_file import read_settings
    from orthoedge.clinic.spool.spool import Spool
    from orthoedge.clinic.spool.status import count_states
    from orthoedge.runtime.errors import DataError

    settings = read_settings(args.settings)
    if not (settings.folder / "index.sqlite").is_file():
        raise DataError(f"{settings.spool}: no spool yet; orthoedge node serve makes it")
    spool = Spool(settings.folder, settings.queue)
    try:
        counts = count_states(spool)
    finally:
        spool.close()
    if args.json:
        write_ascii()
    for count in counts:
        if args.json:
            text = msgspec.json.encode(count).decode()
            print(text.encode("ascii", "backslashreplace").decode())
        else:
            print(_line(count))
    if not counts and not args.json:
        print("the spool is empty")
    return 0


def _line(count: StateCount) -> str:
    name = "images" if count.what == "image" else f"objects for {count.what}"
    reason = f"; last reason: {count.reason}" if count.reason else ""
    return printable(
        f"{name}, {count.state}: {count.count}, {count.size_bytes / 1e6:.1f} MB, "
        f"oldest {_age(count.oldest_s)}{reason}"
    )


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
