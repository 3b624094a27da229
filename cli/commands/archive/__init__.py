"""`orthoedge archive`: answer an archive, and report on the answers."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options, terminal

if TYPE_CHECKING:
    from orthoedge.clinic.archive.outcome import Workers
    from orthoedge.clinic.archive.progress import Progress
    from orthoedge.clinic.archive.rows import RunRecord
    from orthoedge.clinic.archive.worker import WorkerSettings

_EVERY_S = 60.0  # between two lines where stderr is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    help_text = "give every radiograph of an archive a row in the store; go on where it stopped"
    run_parser = actions.add_parser("run", help=help_text, description=help_text)
    _add_run(run_parser)
    help_text = "write one page about the rows of a store"
    report = actions.add_parser("report", help=help_text, description=help_text)
    report.add_argument("store", type=Path, metavar="STORE", help="the store of archive run")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page, HTML with everything inside (default: report.html in the store)",
    )
    _add_authorization(report)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SRC",
        help="a folder; an index.csv with the column path, and label and source where known; a "
        "text file with one path a line; or the address of a DICOMweb service, such as "
        "'https://pacs/dicom-web?StudyDate=20200101-20201231'",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="STORE", help="folder of the store"
    )
    options.add_bundle(parser)
    options.add_trust(parser)
    options.add_target(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs",
        type=options.positive,
        metavar="N",
        help="processes on this machine, each with an engine of its own (default: one per core)",
    )
    where.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="Dask scheduler whose workers do it, such as tcp://host:8786; sources, store and "
        "bundle have the same paths on every machine",
    )
    parser.add_argument(
        "--threads",
        type=options.positive,
        default=1,
        metavar="N",
        help="CPU threads of each engine (default: 1)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for the compiled model, so that later starts are faster",
    )
    parser.add_argument(
        "--isolate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="decode files in a sandboxed process (default; Linux only)",
    )
    parser.add_argument(
        "--deadline-ms",
        type=options.above_zero,
        default=10_000.0,
        metavar="X",
        help="milliseconds that decoding one file may take in the sandbox (default: 10000)",
    )
    parser.add_argument(
        "--memory-mb",
        type=options.above_zero,
        default=512.0,
        metavar="X",
        help="MiB that decoding one file may take (default: 512)",
    )
    parser.add_argument(
        "--read-ahead-mb",
        type=options.above_zero,
        default=64.0,
        metavar="X",
        help="MiB of files that each worker may hold in memory (default: 64)",
    )
    parser.add_argument(
        "--maps", action="store_true", help="keep the heat map of each radiograph in its row"
    )
    parser.add_argument(
        "--retry-errors",
        action="store_true",
        help="do radiographs again whose row is an error",
    )
    _add_authorization(parser)


def _add_authorization(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--authorization",
        type=Path,
        metavar="FILE",
        help="file that holds the Authorization header for a DICOMweb service, such as Bearer …",
    )


def run(args: argparse.Namespace) -> int:
    """Run one action; `run` exits 1 if a radiograph has no answer."""
    from orthoedge.clinic.archive.rows import check_parquet

    check_parquet()
    return {"run": _run, "report": _report}[args.action](args)


def _run(args: argparse.Namespace) -> int:
    from orthoedge.clinic.archive.run import run_archive
    from orthoedge.runtime.settings import plain

    settings, record = _settings(args)
    terminal.write_error(f"note: {record.intended_use}\n")
    screen = _Screen()

    def start(filled: WorkerSettings) -> Workers:
        if args.cluster:
            from orthoedge.clinic.archive.cluster import ClusterWorkers

            return ClusterWorkers(filled, args.cluster)
        from orthoedge.clinic.archive.local import LocalWorkers
        from orthoedge.targets.cpu import available_cores

        return LocalWorkers(filled, args.jobs or available_cores())

    with _ended_by_sigterm(), screen.ended(settings.store.folder):
        summary = run_archive(
            args.source, settings, record, start, screen, retry_errors=args.retry_errors
        )
    print(
        f"{plain(summary.listed)} radiographs; {plain(summary.done)} done now, "
        f"{plain(summary.failed)} of these without an answer; rows in {settings.store.folder}"
    )
    if summary.unanswered:
        print(
            f"{plain(summary.unanswered)} rows of the store have no answer; --retry-errors does "
            "them again"
        )
    return 1 if summary.unanswered else 0


def _settings(args: argparse.Namespace) -> tuple[WorkerSettings, RunRecord]:
    """What each worker is given, and what makes the rows; the bundle is checked here first."""
    from orthoedge.clinic.archive.rows import RunRecord
    from orthoedge.clinic.archive.store import Store
    from orthoedge.clinic.archive.worker import WorkerSettings
    from orthoedge.runtime.bundles.bundle import bundle_path, read_bundle
    from orthoedge.targets import check_target, choose_precision

    trust = options.bundle_trust(args)
    if not args.cluster and args.target != "jetson":
        check_target(args.target)
    bundle = read_bundle(args.bundle or bundle_path(), trust=trust)
    store = Store.of_bundle(args.out.absolute(), bundle.sha256)
    precision = args.precision
    if precision == "auto":  # once, so that all workers run the same
        before = store.record()
        measured_on = None if args.target == "x86" else bundle
        precision = before.precision if before else choose_precision(args.target, measured_on)[0]
    bundle.model(precision)
    manifest = bundle.manifest
    record = RunRecord(
        bundle=manifest.name,
        bundle_version=manifest.version,
        bundle_sha256=bundle.sha256,
        labels=manifest.labels,
        intended_use=manifest.intended_use,
        target=args.target,
        precision=precision,
        threads=args.threads,
    )
    settings = WorkerSettings(
        store=store,
        token="",
        bundle=args.bundle and args.bundle.absolute(),
        bundle_sha256=bundle.sha256,
        trust=trust,
        target=args.target,
        precision=precision,
        threads=args.threads,
        cache=args.cache and args.cache.absolute(),
        isolate=args.isolate,
        time_s=args.deadline_ms / 1e3,
        memory_mb=args.memory_mb,
        read_ahead_bytes=int(args.read_ahead_mb * 2**20),
        authorization=args.authorization and args.authorization.absolute(),
        maps=args.maps,
    )
    return settings, record


class _Screen:
    """Shows progress on stderr: one line that changes on a terminal, else one a minute."""

    def __init__(self) -> None:
        self._is_terminal = terminal.is_terminal(sys.stderr)
        self._due_at = 0.0
        self._width = 0
        self._progress: Progress | None = None

    @contextmanager
    def ended(self, folder: Path) -> Iterator[None]:
        """End the line that changes; where the run ends early, say what is kept and goes on."""
        try:
            yield
        except BaseException:
            if self._progress is not None:
                # Errors that were to be done again have no row any more.
                words = (word for word in sys.argv[1:] if word != "--retry-errors")
                self.note(
                    f"at least {self._progress.counts()} radiographs have a row in {folder}, which "
                    f"stays; go on with: {shlex.join(('orthoedge', *words))}"
                )
            raise
        finally:
            self.end()

    def progress(self, progress: Progress) -> None:
        """Show how far it is."""
        self._progress = progress
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + (1.0 if self._is_terminal else _EVERY_S)
        line = progress.line()
        if self._is_terminal:
            terminal.write_error(f"\r{line:<{self._width}}")
            self._width = len(line)
        else:
            terminal.write_error(f"{line}\n")

    def note(self, line: str) -> None:
        """Show a line about a worker."""
        self.end()
        terminal.write_error(f"{terminal.printable(line)}\n")

    def end(self) -> None:
        """End the line that changes."""
        if self._width:
            terminal.write_error("\n")
            self._width = 0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, with the exit code that the system would give."""

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(args: argparse.Namespace) -> int:
    from orthoedge.clinic.archive.report import write_report

    page = args.out or args.store / "report.html"
    write_report(args.store, page, args.authorization)
    print(page)
    return 0
