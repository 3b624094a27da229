"""`orthoedge predict`: files and folders in, one finding each out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.options import add_bundle, add_target
from orthoedge.cli.terminal import hold_stderr, printable
from orthoedge.runtime.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from orthoedge.runtime.intake import Radiograph
    from orthoedge.runtime.pipeline import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    add_bundle(parser)
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="DIR",
        help="for each radiograph write NAME.png, its heat map over it at full resolution, and "
        "NAME.side.png, both beside each other at the size of a screen",
    )


def run(args: argparse.Namespace) -> int:
    """Predict every file; exit 1 if any failed."""
    from orthoedge.targets import open_pipeline

    pipeline = open_pipeline(args.bundle, args.target, args.precision)
    if not args.json:
        print(f"note: {pipeline.bundle.manifest.intended_use}")
    failed = count = 0
    names: set[str] = set()
    files = list(find_files(args.paths))
    if args.overlay:
        _prepare_overlays(args.overlay, files)
    for position, path in enumerate(files):
        _progress(position, len(files), args)
        count += 1
        try:
            if not path.exists():
                raise InputError("no such file")
            with hold_stderr() as printed:
                radiograph, finding = pipeline.predict(path)
        except (InputError, MissingDependency, OSError) as error:
            failed += 1
            _report_error(path, _reason(error))
            if args.json:
                _print_json({"path": _text(path), "error": _reason(error)})
            continue
        finding = replace(finding, notes=(*finding.notes, *(f"decoder: {it}" for it in printed)))
        pictures: tuple[Path, ...] = ()
        if args.overlay:
            try:
                pictures = _write_overlays(args.overlay, path, names, radiograph, finding)
            except OSError as error:  # such as a full disk; the finding itself stands
                failed += 1
                _report_error(path, f"picture not written: {_reason(error)}")
        _report(path, finding, pictures, args.json)
    _progress(len(files), len(files), args)
    if count == 0:
        raise InputError(f"no image files in {', '.join(map(str, args.paths))}")
    if failed:
        print(f"orthoedge: {failed} of {count} files failed", file=sys.stderr)
    return 1 if failed else 0


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given; of a folder, the images below it in order of their names."""
    from orthoedge.runtime.intake import find_images

    for path in paths:
        if path.is_dir():
            yield from find_images(path)
        else:
            yield path


def _report(path: Path, finding: Finding, pictures: tuple[Path, ...], as_json: bool) -> None:
    if as_json:
        import msgspec

        record = {"path": _text(path), "error": None, **msgspec.json.decode(finding.to_json())}
        record["overlay"] = _text(pictures[0]) if pictures else None
        record["side_by_side"] = _text(pictures[1]) if pictures else None
        _print_json(record)
        return
    verdict, timing, source = finding.verdict, finding.timing_ms, finding.provenance
    print(f"{printable(str(path))}: {describe(finding)}")
    others = ", ".join(f"{label} {p:.3f}" for label, p in verdict.probabilities.items())
    print(f"  probabilities  {others}")
    print(
        f"  milliseconds   read {timing.read:.2f}, preprocess {timing.preprocess:.2f}, "
        f"inference and map {timing.inference:.2f}, decide {timing.decide:.2f}, "
        f"total {timing.total:.2f}"
    )
    print(f"  engine         {source.engine} {source.precision} ({source.isa})")
    for note in finding.notes:
        print(f"  note           {note}")
    for picture in pictures:
        print(f"  picture        {printable(str(picture))}")


def describe(finding: Finding) -> str:
    """Label, probability and decision in one line; of what is rejected, no label."""
    from orthoedge.runtime.decision import percentage

    verdict = finding.verdict
    said = f"{verdict.label} {percentage(verdict.probabilities[verdict.label])}"
    if verdict.decision == "reject":
        said = "no answer"
    line = f"{said} -> {verdict.decision}"
    return f"{line} ({'; '.join(verdict.reasons)})" if verdict.reasons else line


def _report_error(path: Path, reason: str) -> None:
    print(f"orthoedge: {printable(str(path))}: {reason}", file=sys.stderr)


def _print_json(record: dict[str, object]) -> None:
    import msgspec

    print(msgspec.json.encode(record).decode(), flush=True)


def _text(path: Path) -> str:
    """The path as Unicode; bytes of a name that are none come out as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(reason.split()))


def _prepare_overlays(folder: Path, files: Iterable[Path]) -> None:
    """Make the folder, unless a picture in it could replace a radiograph.

    Raises:
        InputError: one of `files` lies in `folder`, or `folder` is a file.
    """
    here = os.path.realpath(folder)
    for path in files:
        # Where the file is named, and where it lies if that name is a link.
        if here in (os.path.realpath(path.parent), str(Path(os.path.realpath(path)).parent)):
            raise InputError(
                f"--overlay {folder}: holds {path.name}, which a picture could replace; "
                "choose another folder"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--overlay {folder}: not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _write_overlays(
    folder: Path, path: Path, names: set[str], radiograph: Radiograph, finding: Finding
) -> tuple[Path, Path]:
    """Write both pictures; always both, because a map alone hides what it points at."""
    from orthoedge.runtime.files import write_atomic
    from orthoedge.runtime.render import overlay, side_by_side, to_png

    name = path.stem
    # Two folders may hold files of one name, and a file may be named like another's side-by-side.
    while not names.isdisjoint({f"{name}.png", f"{name}.side.png"}):
        name += "_"
    pictures = folder / f"{name}.png", folder / f"{name}.side.png"
    names.update(picture.name for picture in pictures)
    for picture, draw in zip(pictures, (overlay, side_by_side), strict=True):
        write_atomic(picture, to_png(draw(radiograph, finding)))
    return pictures


def _progress(done: int, total: int, args: argparse.Namespace) -> None:
    """A bar on stderr where it is a terminal and the findings go elsewhere."""
    if total < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return
    filled = 30 * done // total
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (30 - filled)
    print(f"\r{bar} {done}/{total}", end=end, file=sys.stderr, flush=True)
