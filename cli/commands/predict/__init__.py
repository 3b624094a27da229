"""`orthoedge predict`: one finding for each file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options, terminal
from orthoedge.cli.commands.predict import workers
from orthoedge.cli.commands.predict.workers import Settings, Task
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from orthoedge.cli.commands.predict.output import FileOutput


_LONGEST_NAME = 240  # bytes of a picture's name before `_2.side.png`; file systems take 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    options.add_bundle(parser)
    options.add_trust(parser)
    options.add_target(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="DIR",
        help="for each radiograph write NAME.png, the heat map over it at full resolution, and "
        "NAME.side.png, plain and marked side by side at the size of a screen",
    )
    parser.add_argument(
        "--no-names",
        dest="names",
        action="store_false",
        help="number the files in the order they are read, and use the numbers in the output and "
        "in the names of pictures: file names can identify patients",
    )
    parser.add_argument(
        "--jobs",
        type=options.positive,
        default=1,
        metavar="N",
        help="processes, each with an engine of its own (default: 1)",
    )
    parser.add_argument(
        "--threads",
        type=options.positive,
        metavar="N",
        help="CPU threads of each engine (default: the cores, divided among the jobs)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for the compiled model and, with --precision auto, for the precision that was "
        "faster here, so that later starts are faster (default: nothing is written)",
    )
    parser.add_argument(
        "--deadline-ms",
        type=options.above_zero,
        metavar="X",
        help="milliseconds one file may take; a file that takes longer fails (default: no limit)",
    )
    parser.add_argument(
        "--memory-mb",
        type=options.above_zero,
        metavar="X",
        help="MiB that reading one file may take, estimated from its header (default: no limit)",
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="decode untrusted files in a sandboxed process, limited to 10 s (or --deadline-ms) "
        "and 512 MiB (or --memory-mb). Linux only",
    )


def run(args: argparse.Namespace) -> int:
    """Predict every file; exit 1 if any failed."""
    from orthoedge.runtime.bundles.bundle import bundle_path, read_bundle
    from orthoedge.targets import check_target

    trust = options.bundle_trust(args)
    settings = Settings(
        bundle=args.bundle,
        trust=trust,
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
    if pipeline is None and args.target != "jetson":  # without it a pipeline uses the CPU
        check_target(args.target)
    # Read before any process starts, so that errors of the bundle appear once.
    bundle = pipeline.bundle if pipeline else read_bundle(args.bundle or bundle_path(), trust=trust)
    if args.json:
        terminal.write_ascii()
    else:
        print(f"note: {bundle.manifest.intended_use}")
    files = _list_files(args.paths, args.names)
    if args.overlay:
        _prepare_overlays(args.overlay, files, args.names)
    tasks = list(_plan(files, args.overlay, args.names))
    if pipeline is None:
        outputs = workers.predict_in_processes(settings, tasks, args.jobs)
    else:
        outputs = (workers.predict_file(pipeline, task, args.json) for task in tasks)
    return _print_all(outputs, len(tasks), args.json)


def _print_all(outputs: Iterator[FileOutput], total: int, as_json: bool) -> int:
    failed = 0
    _progress(0, total)
    for done, output in enumerate(outputs, 1):
        if output.stderr:
            failed += 1
            terminal.write_error(output.stderr)
        print(output.stdout, end="", flush=as_json)
        _progress(done, total)
    if failed:
        terminal.write_error(f"orthoedge: {failed} of {total} files failed\n")
    return 1 if failed else 0


def _list_files(paths: Sequence[Path], named: bool) -> list[tuple[Path, str]]:
    """The files to predict in order, each with why it cannot be read, where that is known.

    Raises:
        InputError: there is none.
    """
    from orthoedge.runtime.image_io.folder import list_folder

    files: list[tuple[Path, str]] = []
    lines = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
            files.append((path, ""))
            continue
        contents = list_folder(path)
        unreadable = ((entry.path, entry.reason) for entry in contents.unreadable)
        files += sorted((*((image, "") for image in contents.images), *unreadable))
        lines += [line] if (line := contents.line(named)) else []
    if not files:
        where = f" in {', '.join(map(str, paths))}" if named else ""
        raise InputError("; ".join((f"no image files{where}", *lines)))
    for line in lines:
        terminal.write_error(f"orthoedge: {terminal.printable(line)}\n")
    return files


def _plan(files: Iterable[tuple[Path, str]], folder: Path | None, named: bool) -> Iterator[Task]:
    """Give each file's pictures unique names, before any process draws one."""
    names: set[str] = set()
    counts: dict[str, int] = {}  # not from 2 for each of 1,000 folders with an IM000001
    for number, (path, unreadable) in enumerate(files, 1):
        shown = str(path) if named else f"file {number}"
        if folder is None or unreadable:
            yield Task(path, shown, unreadable=unreadable)
            continue
        name = _picture_name(path) if named else str(number)
        # Two folders may hold files of the same name, a file may have the name of another's
        # side-by-side picture, and disks exist where a.png and A.png are one file.
        stem, key = name, name.casefold()
        while not names.isdisjoint({f"{name.casefold()}.png", f"{name.casefold()}.side.png"}):
            counts[key] = counts.get(key, 1) + 1
            name = f"{stem}_{counts[key]}"
        pictures = folder / f"{name}.png", folder / f"{name}.side.png"
        names.update(picture.name.casefold() for picture in pictures)
        yield Task(path, shown, pictures)


def _picture_name(path: Path) -> str:
    """The name without the suffix of an image: the last number of a UID is no suffix."""
    from orthoedge.runtime.image_io.folder import SUFFIXES

    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    while len(name.encode(errors="surrogatepass")) > _LONGEST_NAME:
        name = name[:-1]
    return name


def _prepare_overlays(folder: Path, files: Iterable[tuple[Path, str]], named: bool) -> None:
    """Create the folder, unless a picture in it could replace a radiograph."""
    here = os.path.realpath(folder)
    for path, _ in files:
        try:  # the folder of the name, and that of the file itself if the name is a link
            folders = os.path.realpath(path.parent), str(Path(os.path.realpath(path)).parent)
        except (OSError, ValueError):  # reading it says why
            continue
        if here in folders:
            example = path.name if named else "one of the radiographs"
            raise InputError(
                f"--overlay {folder}: holds {example}, which a picture could replace; "
                "choose another folder"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--overlay {folder}: not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _progress(done: int, total: int) -> None:
    """Draw a bar on stderr if it is a terminal and the findings go elsewhere."""
    if total < 2 or not terminal.is_terminal(sys.stderr) or terminal.is_terminal(sys.stdout):
        return
    filled = 30 * done // total
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (30 - filled)
    terminal.write_error(f"\r{bar} {done}/{total}{end}")
