"""`orthoedge verify`: check a bundle's hashes, its golden outputs, and optionally its accuracy."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.options import add_target, add_trust, bundle_trust, named_bundle
from orthoedge.cli.terminal import printable

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import Bundle
    from orthoedge.runtime.engine import Precision
    from orthoedge.runtime.pipeline import Pipeline
    from orthoedge.targets.verification import ParityCheck
    from orthoedge.training.data.index import ImageRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "bundle",
        type=named_bundle,
        nargs="?",
        metavar="BUNDLE",
        help="bundle folder or .zip, or phantom (default: the bundle inside the package)",
    )
    add_trust(parser)
    add_target(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for what x86 compiles or jetson builds (default: nothing is written)",
    )
    more = parser.add_mutually_exclusive_group()
    more.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="labelled radiographs to measure on: fails if accuracy is below the manifest's by "
        "more than three standard errors; needs the train extra",
    )
    more.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="also measure latency and power, and write everything as JSON, with hardware, "
        "versions, clocks and hashes; for a target that cannot run, the record gives the reason",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line per check; exit 1 if any fails."""
    from orthoedge.runtime.bundles.bundle import bundle_path, read_bundle
    from orthoedge.runtime.errors import BundleError
    from orthoedge.targets import check_target, precisions_of

    path = args.bundle or bundle_path()
    if args.record is None:
        check_target(args.target)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle")
    trust = bundle_trust(args)
    try:
        bundle = read_bundle(path, trust=trust)
    except BundleError as error:
        print(f"FAIL  {error}")
        return 1
    signed = f", signed by {bundle.signer.hex()}" if bundle.signer else ""
    print(f"pass  {path}: {bundle.manifest.name}, every file matches its SHA-256{signed}")
    print(f"note: {printable(bundle.manifest.licences)}")
    precisions = (
        precisions_of(bundle, args.target) if args.precision == "auto" else (args.precision,)
    )
    if args.record is not None:
        return _record(bundle, precisions, args)
    records = _read_records(args.data, bundle) if args.data else []
    passed = [_verify(bundle, precision, records, args) for precision in precisions]
    return 0 if all(passed) else 1


def _verify(
    bundle: Bundle, precision: Precision, records: list[ImageRecord], args: argparse.Namespace
) -> bool:
    from orthoedge.runtime.errors import BundleError, EngineError
    from orthoedge.runtime.pipeline import Pipeline
    from orthoedge.targets import EngineOptions, open_engine
    from orthoedge.targets.verification import check_engine

    try:
        engine = open_engine(
            bundle, args.target, precision, options=EngineOptions(cache=args.cache)
        )
        checks = check_engine(bundle, engine)
        if records:
            checks.append(_check_accuracy(Pipeline(bundle, engine), records))
    except (BundleError, EngineError) as error:
        print(f"FAIL  {precision}: {error}")
        return False
    for check in checks:
        print(check)
    return all(check.passed for check in checks)


def _record(bundle: Bundle, precisions: tuple[Precision, ...], args: argparse.Namespace) -> int:
    from orthoedge.benchmarks.device_record import make_record, write_record
    from orthoedge.runtime.errors import DataError

    if args.record.is_dir():  # refused before a minute of measuring, not after it
        raise DataError(f"{args.record}: is a folder, expected the name of a file")
    measured = make_record(bundle, args.target, precisions, say=print, cache=args.cache)
    write_record(measured, args.record)
    print(f"record: {args.record}")
    return 0 if measured.passed else 1


def _read_records(data: Path, bundle: Bundle) -> list[ImageRecord]:
    from orthoedge.runtime.errors import DataError
    from orthoedge.training.data.index import read_index

    records = read_index(data)
    for record in records:
        if record.label not in bundle.manifest.labels:
            known = ", ".join(bundle.manifest.labels)
            raise DataError(
                f"{record.path}: label {record.label} is not one of the bundle's: {known}"
            )
    return records


def _check_accuracy(pipeline: Pipeline, records: list[ImageRecord]) -> ParityCheck:
    """Compare accuracy with the manifest's, within three standard errors of the difference."""
    from orthoedge.runtime.engine import calibrated_as
    from orthoedge.targets.verification import ParityCheck

    manifest = pipeline.bundle.manifest
    stated = manifest.metrics[calibrated_as(manifest.key_of(pipeline.engine))]
    hits = sum(pipeline(record.path).label == record.label for record in records)
    count = len(records)
    pooled = (hits + stated.accuracy * stated.images) / (count + stated.images)
    error = math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / stated.images))
    where = f"{pipeline.engine.name} {pipeline.engine.precision}"
    name = f"{where} accuracy {hits / count:.3f} on {count} images, below {stated.accuracy:.3f} by"
    return ParityCheck(name, max(0.0, stated.accuracy - hits / count), 3 * error)
