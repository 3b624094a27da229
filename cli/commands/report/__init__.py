"""`orthoedge report`: one page for each radiograph, as PDF."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options, terminal
from orthoedge.runtime.errors import DeadlineExceeded, InputError, MissingDependency

if TYPE_CHECKING:
    from orthoedge.clinic.report import PatientFacts, StudyFacts
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
    from orthoedge.cli.inputs import UniqueNames, list_files, output_name, prepare_output
    from orthoedge.clinic.report.fonts import open_fonts
    from orthoedge.clinic.words import catalogue
    from orthoedge.runtime.atomic_files import write_atomic
    from orthoedge.targets import open_pipeline

    catalogue(args.language)  # what is wrong with the options is said before a network is opened
    open_fonts(tuple(args.fonts))
    files = list_files(args.paths, named=True)
    prepare_output(args.out, "--out", "a report", files, named=True)
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
            report = _report(pipeline, path, args)
        except (InputError, MissingDependency, DeadlineExceeded, OSError, MemoryError) as error:
            failed += 1
            reason = " ".join(str(error).split()) or "not enough memory"
            line = terminal.printable(f"{path}: {reason}")
            terminal.write_error(f"orthoedge: {line}\n")
            continue
        target = args.out / names.of(output_name(path))[0]
        write_atomic(target, report)
        print(terminal.printable(str(target)))
    if failed:
        terminal.write_error(f"orthoedge: {failed} of {len(files)} files failed\n")
    return 1 if failed else 0


def _report(pipeline: Pipeline, path: Path, args: argparse.Namespace) -> bytes:
    from orthoedge.clinic.report import ReportContent, make_report

    radiograph, finding = pipeline.predict_with_image(path)
    patient, study = _facts(path)
    content = ReportContent(
        finding=finding.to_json(),
        pixels=radiograph.pixels,
        made=datetime.now().astimezone(),
        study=study,
        patient=patient if args.patient else None,
        file_name=path.name,
        alert_labels=pipeline.bundle.manifest.alert_labels,
    )
    return make_report(content, args.language, args.paper, fonts=args.fonts)


def _facts(path: Path) -> tuple[PatientFacts, StudyFacts]:
    from orthoedge.clinic.report import PatientFacts, StudyFacts, read_facts
    from orthoedge.runtime.dicom.encoding import HEAD
    from orthoedge.runtime.image_io.headers import recognize

    with path.open("rb") as file:
        is_dicom = recognize(file.read(HEAD)) == "DICOM"
    return read_facts(path) if is_dicom else (PatientFacts(), StudyFacts())
