"""`orthoedge report`: one page for each radiograph, as PDF."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options, terminal
from orthoedge.cli.history import check_history, open_history, shell_user
from orthoedge.runtime.errors import ConfigError, DeadlineExceeded, InputError, MissingDependency

if TYPE_CHECKING:
    from orthoedge.clinic.history import History, PatientFacts, StudyFacts
    from orthoedge.clinic.report import EarlierFinding, ReportContent
    from orthoedge.runtime.pipeline import Pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the reports, NAME.pdf"
    )
    parser.add_argument(
        "--language",
        default="en",
        metavar="CODE",
        help="en, fr, es, pt, sw, hi, ar, ur, bn or zh (default: en)",
    )
    parser.add_argument(
        "--paper", default="a4", choices=("a4", "letter"), help="size of the page (default: a4)"
    )
    parser.add_argument(
        "--patient",
        action="store_true",
        help="show patient and study as the header of a DICOM file names them, and the file's name",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="DIR",
        help="history of the page or of a node, whose earlier radiographs of the patient are "
        "listed; needs --patient",
    )
    parser.add_argument(
        "--fonts",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="folder of Noto fonts, looked at before those of the system; may be repeated",
    )
    options.add_bundle(parser)
    options.add_trust(parser)
    options.add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report on every file; exit 1 if any failed."""
    from orthoedge.cli.inputs import list_files, prepare_output
    from orthoedge.clinic.report.fonts import open_fonts
    from orthoedge.clinic.words import catalogue

    if args.history is not None:
        if not args.patient:
            raise ConfigError("--history needs --patient: a page without a patient lists nothing")
        check_history(args.history, "--history")
    catalogue(args.language)  # what is wrong with the options is said before a network is opened
    open_fonts(tuple(args.fonts))
    files = list_files(args.paths, named=True)
    is_new = not args.out.exists()
    prepare_output(args.out, "--out", "a report", files, named=True)
    try:
        with open_history(args.history) if args.history else contextlib.nullcontext() as history:
            return _write_reports(files, args, history)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it holds a report
                args.out.rmdir()


def _write_reports(
    files: Sequence[tuple[Path, str]], args: argparse.Namespace, history: History | None
) -> int:
    from orthoedge.cli.inputs import UniqueNames, output_name
    from orthoedge.clinic.report import make_report
    from orthoedge.runtime.atomic_files import write_atomic
    from orthoedge.targets import open_pipeline

    pipeline = open_pipeline(
        args.bundle,
        target=args.target,
        precision=args.precision,
        trust=options.bundle_trust(args),
    )
    names = UniqueNames((".pdf",))
    failed = 0
    for path, unreadable in files:
        try:
            if unreadable:
                raise InputError(f"cannot read it: {unreadable}")
            content = _content(pipeline, path, args, history)
            report = make_report(content, args.language, args.paper, fonts=args.fonts)
            target = args.out / names.of(output_name(path))[0]
            _check_replaced(target, content.image_sha256)
        except (InputError, MissingDependency, DeadlineExceeded, OSError, MemoryError) as error:
            failed += 1
            reason = " ".join(str(error).split()) or "not enough memory"
            line = terminal.printable(f"{path}: {_in_words(reason, args.language)}")
            terminal.write_error(f"orthoedge: {line}\n")
            continue
        write_atomic(target, report)
        print(terminal.printable(str(target)))
    if failed:
        terminal.write_error(f"orthoedge: {failed} of {len(files)} files failed\n")
    return 1 if failed else 0


def _in_words(reason: str, language: str) -> str:
    """The reason in the language of the report, with the technical line after it."""
    from orthoedge.clinic.words import catalogue
    from orthoedge.clinic.words.failures import failure_id

    name = failure_id(reason)
    if language == "en" or name == "failure.other":
        return reason
    return f"{catalogue(language).text(name)} ({reason})"


def _check_replaced(target: Path, image_sha256: str) -> None:
    """Let a page be replaced by the next one on the same file alone.

    Raises:
        InputError: the file is there, and is no page on that radiograph.
    """
    if target.exists() and f"SHA-256 {image_sha256}".encode() not in target.read_bytes():
        raise InputError(f"{target} is the report on another radiograph; choose another --out")


def _content(
    pipeline: Pipeline, path: Path, args: argparse.Namespace, history: History | None
) -> ReportContent:
    from orthoedge.clinic.history.header import read_facts
    from orthoedge.clinic.report import ReportContent
    from orthoedge.runtime.atomic_files import file_sha256

    radiograph, finding = pipeline.predict_with_image(path)
    patient, study = read_facts(path)
    image_sha256 = file_sha256(path)
    return ReportContent(
        finding=finding.to_json(),
        pixels=radiograph.pixels,
        made=datetime.now().astimezone(),
        study=study,
        patient=patient if args.patient else None,
        file_name=path.name,
        image_sha256=image_sha256,
        earlier=_earlier(history, patient, study, image_sha256) if history else (),
        alert_labels=pipeline.bundle.manifest.alert_labels,
    )


def _earlier(
    history: History, patient: PatientFacts, study: StudyFacts, image_sha256: str
) -> tuple[EarlierFinding, ...]:
    """The patient's earlier radiographs; that they were taken from the history is noted there."""
    from orthoedge.clinic.report import EarlierFinding

    earlier = history.earlier(patient, study, image_sha256)
    if earlier:
        history.note(shell_user(), "exported", detail="earlier radiographs")
    return tuple(EarlierFinding.from_finding(*one) for one in earlier)
