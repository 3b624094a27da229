"""A run of the benchmark for the command line: what goes into it, and where it is written."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.commands.benchmark.inputs import NAME as ENSEMBLE
from orthoedge.cli.commands.benchmark.inputs import open_reference, random_ensemble

if TYPE_CHECKING:
    from orthoedge.benchmarks.metrics.labelled_data import Prepared
    from orthoedge.benchmarks.report.gallery import GalleryItem
    from orthoedge.benchmarks.run_settings import Mode, ReferenceModel, RunSettings
    from orthoedge.benchmarks.schema import Missing, Report
    from orthoedge.benchmarks.thresholds import Condition
    from orthoedge.runtime.bundles.bundle import Bundle
    from orthoedge.runtime.preprocess import Pixels


DEFAULT_TARGETS = ("x86", "portable")
_SIDE = 512  # of the phantoms that are timed, in pixels
_MOST = 32  # radiographs of --data that are timed


def measure_bundles(args: argparse.Namespace) -> int:
    """Measure each bundle, print its report, and write it under --out.

    Returns:
        0; 1 if a target that was named could not be measured or a condition of --fail-if holds;
        130 if it was interrupted, with the report of what had been measured.

    Raises:
        OrthoEdgeError: what was asked for is no bundle, target, data or condition.
    """
    from orthoedge.benchmarks.thresholds import parse
    from orthoedge.benchmarks.timing.cpu_quota import cpu_quota
    from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
    from orthoedge.runtime.errors import DataError, UnknownTarget
    from orthoedge.targets import TARGETS

    for target in args.target or ():
        if target not in TARGETS:
            known = ", ".join(TARGETS)
            raise UnknownTarget(f"target {target!r} is unknown: choose one of {known}")
    for option, path in (("--data", args.data), ("--reference", args.reference)):
        if path is not None and not path.exists():
            raise DataError(f"{option} {path}: no such file or folder")
    conditions = [parse(text) for text in args.fail_if]
    bundles = [read_bundle(path) for path in args.bundles or [EMBEDDED]]
    if args.isa:
        _cap(args, bundles[0])
    status = 0
    with contextlib.nullcontext() if args.cpu_quota is None else cpu_quota(args.cpu_quota):
        for bundle in bundles:
            several = len(bundles) > 1
            out = args.out / bundle.path.stem if args.out and several else args.out
            status = max(status, _measure(bundle, args, out, conditions))
            if status == 130:
                break
    return status


def _measure(
    bundle: Bundle, args: argparse.Namespace, out: Path | None, conditions: list[Condition]
) -> int:
    from orthoedge.benchmarks.report.markdown import to_markdown
    from orthoedge.benchmarks.run import measure
    from orthoedge.benchmarks.schema import write_both
    from orthoedge.benchmarks.thresholds import failures

    setting = _setting(bundle, args)

    def keep(report: Report) -> None:
        if out is not None:
            write_both(report, to_markdown(report), out, "report")

    report, gallery = measure(bundle, setting, keep, _say)
    if out is not None:
        report = _write_page(report, gallery, out)
        keep(report)
    print(to_markdown(report))
    if not report.complete:
        where = "" if out is None else f"; {out} holds what had been measured"
        _say(f"interrupted{where}")
        return 130
    failed = failures(report, conditions)
    for line in failed:
        print(line)
    return int(bool(failed) or _lacking(report, bundle, args.target or ()))


def _lacking(report: Report, bundle: Bundle, named: Sequence[str]) -> bool:
    """Whether a precision of a target that was named could not be measured."""
    from orthoedge.targets import precisions_of

    asked = {f"{target} {p}" for target in named for p in precisions_of(bundle, target)}
    return any(missing.what in asked for missing in report.missing)


def _setting(bundle: Bundle, args: argparse.Namespace) -> RunSettings:
    from orthoedge.benchmarks.baselines.isa_classes import why_not_limited
    from orthoedge.benchmarks.machine import describe_machine
    from orthoedge.benchmarks.run_settings import PLANS, RunSettings
    from orthoedge.benchmarks.schema import Missing
    from orthoedge.runtime.errors import ConfigError
    from orthoedge.targets.cpu import available_cores

    machine = describe_machine()
    mode: Mode = "quick" if args.quick else "full" if args.full else "standard"
    targets = tuple(dict.fromkeys(args.target or DEFAULT_TARGETS))
    uncapped = {t: why for t in targets if args.isa and (why := why_not_limited(t))}
    if args.target and uncapped:
        raise ConfigError(f"--isa: {next(iter(uncapped.values()))}")
    prepared, paths = _prepared(bundle, args.data, mode)
    images, data, radiograph = _images(args.data, paths)
    return RunSettings(
        machine=machine,
        mode=mode,
        plan=PLANS[mode],
        command=command_of(args),
        targets=tuple(target for target in targets if target not in uncapped),
        threads=args.threads or available_cores(),
        seeds=args.seeds,
        isa_cap=args.isa or "",
        cpu_quota=args.cpu_quota,
        images=images,
        data=data,
        radiograph=radiograph,
        prepared=prepared,
        ensemble=_ensemble(bundle, args.reference, mode),
        left_out=tuple(Missing(what=t, why=why) for t, why in uncapped.items()),
    )


def _cap(args: argparse.Namespace, bundle: Bundle) -> None:
    """Begin anew with the engine's cap: libraries read it once, when they are loaded."""
    from orthoedge.benchmarks.baselines.isa_classes import limited_environment
    from orthoedge.runtime.subprocesses import module_command

    environment = limited_environment(args.isa, bundle)
    if environment != dict(os.environ):
        command = [*module_command("orthoedge.cli.main"), *shlex.split(command_of(args))[1:]]
        os.execve(sys.executable, command, environment)


def command_of(args: argparse.Namespace) -> str:
    """The command as it can be typed again, with all that decides about the figures."""
    words = ["orthoedge", "benchmark", *map(str, args.bundles)]
    for target in args.target or ():
        words += ["--target", target]
    words += ["--quick"] if args.quick else ["--full"] if args.full else []
    for name in ("data", "reference", "out", "threads", "isa", "cpu_quota"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += [] if args.seeds else ["--no-seeds"]
    words += ["--fail-if", *args.fail_if] if args.fail_if else []
    return shlex.join(words)


def _images(data: Path | None, paths: Sequence[Path]) -> tuple[tuple[Pixels, ...], str, Path]:
    """Radiographs to time on, what they are, and the file of the first."""
    from orthoedge.benchmarks.baselines.folder_throughput import sample_images, samples
    from orthoedge.runtime.errors import DataError
    from orthoedge.runtime.image_io.reader import read_image

    if data is None:
        images = sample_images(_SIDE)
        return images, f"{len(images)} phantoms of {_SIDE}×{_SIDE}", samples()[0]
    if not paths:
        raise DataError(f"{data}: no radiograph in this folder")
    paths = paths[:: -(-len(paths) // _MOST)]
    read = tuple(read_image(path).pixels for path in paths)
    sizes = sorted({image.shape[::-1] for image in read})
    ends = dict.fromkeys(f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
    return read, f"{len(read)} radiographs of {data}, {' to '.join(ends)}", paths[0]


def _prepared(
    bundle: Bundle, data: Path | None, mode: Mode
) -> tuple[Prepared | Missing, Sequence[Path]]:
    """What accuracy is measured on, and the files of --data.

    A mistake in what the user gave is raised; phantoms that do not fit the bundle are a reason.
    """
    from orthoedge.benchmarks.metrics.labelled_data import prepare
    from orthoedge.benchmarks.schema import Missing
    from orthoedge.cli.commands.benchmark.inputs import COUNTS, has_labels, open_labelled
    from orthoedge.runtime.errors import DataError, MissingDependency
    from orthoedge.runtime.image_io.reader import find_images

    if data is not None and not has_labels(data):
        return Missing(what="accuracy", why=f"{data} names no labels"), find_images(data)
    _say("labelled radiographs")
    try:
        with open_labelled(data, bundle.manifest.labels, COUNTS[mode]) as labelled:
            files = [image for image in labelled.images if isinstance(image, Path)]
            return prepare(bundle, labelled), files
    except ModuleNotFoundError as error:
        if data is not None:
            raise
        why = str(MissingDependency(error.name or "scipy", "train", "rendering phantoms"))
    except DataError as error:
        if data is not None:
            raise
        why = str(error)
    return Missing(what="accuracy", why=why), ()


def _ensemble(bundle: Bundle, reference: Path | None, mode: Mode) -> ReferenceModel | Missing:
    from orthoedge.benchmarks.schema import Missing

    if reference is None and mode == "quick":
        why = "exporting one takes too long for --quick; --reference names an ONNX file"
        return Missing(what=ENSEMBLE, why=why)
    _say("the float32 ensemble")
    return random_ensemble(bundle) if reference is None else open_reference(reference, bundle)


def _write_page(report: Report, gallery: tuple[GalleryItem, ...], folder: Path) -> Report:
    """Write report.html; the report, which says so where it could not be drawn."""
    import msgspec

    from orthoedge.benchmarks.report.html import to_html
    from orthoedge.benchmarks.schema import Missing
    from orthoedge.runtime.atomic_files import write_atomic
    from orthoedge.runtime.errors import MissingDependency

    try:
        write_atomic(folder / "report.html", to_html(report, gallery).encode())
    except MissingDependency as error:
        lacking = Missing(what="report.html", why=str(error))
        return msgspec.structs.replace(report, missing=(*report.missing, lacking))
    return report


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
