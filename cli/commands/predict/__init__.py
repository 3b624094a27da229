"""`orthoedge predict`: one finding for each file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options, terminal
from orthoedge.cli.commands.predict import workers
from orthoedge.cli.commands.predict.workers import Settings, Task
from orthoedge.cli.inputs import UniqueNames, list_files, output_name, prepare_output

if TYPE_CHECKING:
    from orthoedge.cli.commands.predict.output import FileOutput


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
        help="CPU threads of each engine (default: the cores, divided among the jobs; for several "
        "files on x86 without --overlay and --deadline-ms one core less, which reads ahead)",
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
    from orthoedge.targets.cpu import threads_beside_a_reader

    trust = options.bundle_trust(args)
    ahead = _reads_ahead(args)
    threads = args.threads or (threads_beside_a_reader() if ahead else None)
    settings = Settings(
        bundle=args.bundle,
        trust=trust,
        target=args.target,
        precision=args.precision,
        threads=threads,
        streams=threads if ahead and threads else 1,
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
    files = list_files(args.paths, args.names)
    if args.overlay:
        prepare_output(args.overlay, "--overlay", "a picture", files, args.names)
    tasks = list(_plan(files, args.overlay, args.names))
    if pipeline is None:
        outputs = workers.predict_in_processes(settings, tasks, args.jobs)
    elif ahead:
        outputs = workers.predict_ahead(pipeline, tasks, args.json)
    else:
        outputs = (workers.predict_file(pipeline, task, args.json) for task in tasks)
    return _print_all(outputs, len(tasks), args.json)


def _reads_ahead(args: argparse.Namespace) -> bool:
    """Whether files are read while others are inferred, which x86 does in threads of its own."""
    several = len(args.paths) > 1 or os.path.isdir(args.paths[0])  # noqa: PTH112 - see list_files
    limited = args.overlay or args.deadline_ms is not None
    return bool(args.jobs == 1 and args.target == "x86" and several and not limited)


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


def _plan(files: Iterable[tuple[Path, str]], folder: Path | None, named: bool) -> Iterator[Task]:
    """Give each file's pictures unique names, before any process draws one."""
    names = UniqueNames((".png", ".side.png"))
    for number, (path, unreadable) in enumerate(files, 1):
        shown = str(path) if named else f"file {number}"
        if folder is None or unreadable:
            yield Task(path, shown, unreadable=unreadable)
        else:
            pictures = names.of(output_name(path) if named else str(number))
            yield Task(path, shown, (folder / pictures[0], folder / pictures[1]))


def _progress(done: int, total: int) -> None:
    """Draw a bar on stderr if it is a terminal and the findings go elsewhere."""
    if total < 2 or not terminal.is_terminal(sys.stderr) or terminal.is_terminal(sys.stdout):
        return
    filled = 30 * done // total
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (30 - filled)
    terminal.write_error(f"\r{bar} {done}/{total}{end}")
