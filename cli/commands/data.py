"""`orthoedge data`: data sets as published, cleaned, cut into parts, and audited for shortcuts."""

from __future__ import annotations

import argparse
from pathlib import Path

from orthoedge.cli.options import positive
from orthoedge.cli.terminal import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's sub-verbs and their arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    text = "list a published data set as DIR/index.csv; images stay where they are"
    action = actions.add_parser("import", help=text, description=text)
    names = "btxrd, fracatlas, mura, kaggle, folders or table"
    action.add_argument("name", metavar="NAME", help=names)
    action.add_argument("source", metavar="SRC", type=Path, help="its folder; for table, a CSV")
    action.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to fill")
    text = "drop non-radiographs, duplicates and contradictions; DIR/index.csv lists the rest"
    action = actions.add_parser("clean", help=text, description=text)
    _add_set(action)
    action.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to fill")
    text = "files read at a time (default: 1)"
    action.add_argument("--jobs", type=positive, default=1, help=text)
    text = "cut a part with a lesion and one without from every radiograph with boxes"
    action = actions.add_parser("parts", help=text, description=text)
    _add_set(action)
    action.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to fill")
    text = "measure how well source, size, border and exposure alone predict the class"
    action = actions.add_parser("audit", help=text, description=text)
    _add_set(action)


def _add_set(action: argparse.ArgumentParser) -> None:
    text = "folder with index.csv or with one sub-folder per class, or a CSV file"
    action.add_argument("source", metavar="SRC", type=Path, help=text)


def run(args: argparse.Namespace) -> int:
    """Run one sub-verb; return 0, even if an audit warns, because it completed."""
    if args.action == "import":
        _import(args.name, args.source, args.out)
    elif args.action == "clean":
        _clean(args.source, args.out, args.jobs)
    elif args.action == "parts":
        _parts(args.source, args.out)
    else:
        _audit(args.source)
    return 0


def _import(name: str, source: Path, out: Path) -> None:
    import sys

    from tqdm import tqdm

    from orthoedge.runtime.errors import DataError
    from orthoedge.training.data.index import INDEX, write_index, write_table
    from orthoedge.training.datasets import import_dataset
    from orthoedge.training.datasets.importer import summary

    if (out / INDEX).exists():
        raise DataError(f"{out}: already holds an index; remove it or give another --out")
    with tqdm(desc=name, unit="image", disable=not sys.stderr.isatty()) as bar:
        imported = import_dataset(name, source, lambda done: bar.update(done - bar.n))
    rows = [(skipped.path.absolute(), skipped.reason) for skipped in imported.skipped]
    write_table(out / "skipped.csv", ("path", "reason"), rows, errors="backslashreplace")
    write_index(out / INDEX, imported.records)
    for line in summary(imported):
        print(printable(line))
    print(f"\n{out / INDEX} lists the images, {out / 'skipped.csv'} what was left out and why")


def _clean(source: Path, out: Path, jobs: int) -> None:
    from orthoedge.training.data_quality.cleaning import clean

    for line in clean(source, out, jobs).lines():
        print(printable(line))
    index, why = out / "index.csv", out / "cleaning.md"
    print(f"\n{index} lists the images, {why} what was left out and why")


def _parts(source: Path, out: Path) -> None:
    from orthoedge.training.data.index import INDEX, read_index
    from orthoedge.training.datasets.lesion_parts import write_lesion_parts

    count = write_lesion_parts(read_index(source), out, seed=0)
    print(f"{out / INDEX} lists {count} parts with a lesion and {count} without, of {count} images")


def _audit(source: Path) -> None:
    from orthoedge.training.data.index import read_index
    from orthoedge.training.data_quality.shortcut_audit import audit

    studies = read_index(source)
    for line in audit(studies, sorted({study.label for study in studies}), seed=0).lines():
        print(printable(line))
