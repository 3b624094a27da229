"""`orthoedge predict`: files and folders in, one finding each out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.commands.predict.output import (
    Answer,
    Settings,
    Task,
    answer,
)
from orthoedge.cli.options import (
    above_zero,
    add_bundle,
    add_target,
    add_trust,
    bundle_trust,
    positive,
)
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    add_bundle(parser)
    add_trust(parser)
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="DIR",
        help="for each radiograph write NAME.png, its heat map over it at full resolution, and "
        "NAME.side.png, both beside each other at the size of a screen",
    )
    parser.add_argument(
        "--no-names",
        dest="names",
        action="store_false",
        help="call each file by its number, in the order they are read, in what is printed and in "
        "the names of its pictures: names of files can hold who was X-rayed",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="processes, each with an engine of its own (default: 1)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="of each engine (default: the cores, shared out among the jobs)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keeps the compiled model, and with --precision auto which one was faster here, for "
        "later starts (default: nothing is kept)",
    )
    parser.add_argument(
        "--deadline-ms",
        type=above_zero,
        metavar="X",
        help="milliseconds one file may take; past it the file has no answer (default: no limit)",
    )
    parser.add_argument(
        "--memory-mb",
        type=above_zero,
        metavar="X",
        help="MiB that reading one file may take, estimated from its header (default: no limit)",
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="read files in a child process that is ended after 10 s or the deadline, or beyond "
        "512 MiB or --memory-mb: for files that nobody vouches for (Linux)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict every file; exit 1 if any failed."""
    settings = Settings(
        bundle=args.bundle,
        trust=bundle_trust(args),
        target=args.target,
        precision=args.precision,
        threads=args.threads,
        cache=args.cache,
        deadline_ms=args.deadline_ms,
        memory_mb=args.memory_mb,
        as_json=args.json,
        isolate=args.isolate,
    )
    pipeline = settings.open() if args.jobs == 1 else None
    bundle = _checked_bundle(settings) if pipeline is None else pipeline.bundle
    if not args.json:
        print(f"note: {bundle.manifest.intended_use}")
    files = list(find_files(args.paths))
    if not files:
        raise InputError(f"no image files in {', '.join(map(str, args.paths))}")
    if args.overlay:
        _prepare_overlays(args.overlay, files, args.names)
    tasks = list(_plan(files, args.overlay, args.names))
    if pipeline is None:
        from orthoedge.cli.commands.predict.workers import answers_of

        answers = answers_of(settings, tasks, args.jobs)
    else:
        answers = (answer(pipeline, task, args.json) for task in tasks)
    return _print_all(answers, len(tasks), args)


def _print_all(answers: Iterator[Answer], total: int, args: argparse.Namespace) -> int:
    failed = 0
    _progress(0, total)
    for done, found in enumerate(answers, 1):
        if found.error:
            failed += 1
            print(found.error, end="", file=sys.stderr, flush=True)
        print(found.out, end="", flush=args.json)
        _progress(done, total)
    if failed:
        print(f"orthoedge: {failed} of {total} files failed", file=sys.stderr)
    return 1 if failed else 0


def _checked_bundle(settings: Settings) -> Bundle:
    """What would stop every process alike stops here, before any is started."""
    from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
    from orthoedge.targets import check_target

    if settings.target != "jetson":  # without it a pipeline answers from the CPU and says so
        check_target(settings.target)
    return read_bundle(settings.bundle or EMBEDDED, trust=settings.trust)


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given; of a folder, the images below it in order of their names."""
    from orthoedge.runtime.image_io.reader import find_images

    for path in paths:
        if path.is_dir():
            yield from find_images(path)
        else:
            yield path


def _plan(files: Iterable[Path], folder: Path | None, named: bool) -> Iterator[Task]:
    """Give each file's pictures names of their own, before any process draws one."""
    names: set[str] = set()
    for number, path in enumerate(files, 1):
        shown = str(path) if named else f"file {number}"
        if folder is None:
            yield Task(path, shown)
            continue
        name = path.stem if named else str(number)
        # Two folders may hold files of one name, and a file may be named like another's
        # side-by-side.
        while not names.isdisjoint({f"{name}.png", f"{name}.side.png"}):
            name += "_"
        pictures = folder / f"{name}.png", folder / f"{name}.side.png"
        names.update(picture.name for picture in pictures)
        yield Task(path, shown, pictures)


def _prepare_overlays(folder: Path, files: Iterable[Path], named: bool) -> None:
    """Make the folder, unless a picture in it could replace a radiograph.

    Raises:
        InputError: one of `files` lies in `folder`, or `folder` is a file.
    """
    here = os.path.realpath(folder)
    for path in files:
        # Where the file is named, and where it lies if that name is a link.
        if here in (os.path.realpath(path.parent), str(Path(os.path.realpath(path)).parent)):
            held = path.name if named else "one of the radiographs"
            raise InputError(
                f"--overlay {folder}: holds {held}, which a picture could replace; "
                "choose another folder"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--overlay {folder}: not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _progress(done: int, total: int) -> None:
    """A bar on stderr where it is a terminal and the findings go elsewhere."""
    if total < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return
    filled = 30 * done // total
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (30 - filled)
    print(f"\r{bar} {done}/{total}", end=end, file=sys.stderr, flush=True)
