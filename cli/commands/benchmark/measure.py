"""`orthoedge benchmark run` and `claims`: prepare the settings, measure, write the reports."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from orthoedge.benchmarks import claims
from orthoedge.benchmarks.baselines.folder_throughput import sample_images, samples
from orthoedge.benchmarks.baselines.isa_classes import limited_environment, why_not_limited
from orthoedge.benchmarks.machine import describe_machine
from orthoedge.benchmarks.metrics.labelled_data import Prepared, prepare
from orthoedge.benchmarks.report.html import to_html
from orthoedge.benchmarks.report.markdown import to_markdown
from orthoedge.benchmarks.run import measure
from orthoedge.benchmarks.run_settings import PLANS, Mode, ReferenceModel, RunSettings
from orthoedge.benchmarks.schema import Report, Skipped, read_report, write_both
from orthoedge.benchmarks.thresholds import failures, parse
from orthoedge.benchmarks.timing.candidates import EXTERNAL
from orthoedge.cli.commands.benchmark import inputs
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import Bundle, bundle_argument, bundle_path, read_bundle
from orthoedge.runtime.errors import ConfigError, DataError, MissingDependency
from orthoedge.runtime.image_io.folder import list_folder
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.subprocesses import module_command
from orthoedge.targets import TARGETS, check_target, precisions_of
from orthoedge.targets.cpu import available_cores

DEFAULT_TARGETS = ("x86", "portable")
_SIDE = 512  # pixels of the phantoms that are timed
_MAX_TIMED = 32  # radiographs of --data that are timed


def measure_bundles(args: argparse.Namespace) -> int:
    """Measure each bundle, print its report, and write it under --out.

    Returns:
        0; 1 if a named target could not be measured or a condition of --fail-if holds; 130 if
        interrupted, with the partial report.

    Raises:
        OrthoEdgeError: a bundle, target, data folder, program or condition is not usable.
    """
    for target in args.target or ():
        if target not in TARGETS:
            check_target(target)  # raises, and names the known targets
    for option, path in (("--data", args.data), ("--reference", args.reference)):
        if path is not None and not path.exists():
            raise DataError(f"{option} {path}: no such file or folder")
    conditions = [parse(text) for text in args.fail_if]
    external = _external(args.external)
    bundles = [read_bundle(path) for path in args.bundles or [bundle_path()]]
    if args.isa:
        _limit_isa(args, bundles[0])
    status = 0
    for bundle in bundles:
        out = args.out / bundle.path.stem if args.out and len(bundles) > 1 else args.out
        report = _measure(bundle, _settings(bundle, args, external), out)
        print(to_markdown(report))
        if not report.complete:
            return 130
        failed = failures(report, conditions)
        for line in failed:
            print(line)
        if failed or _lacking(report, bundle, args.target or (), external):
            status = 1
    return status


def check_claims(args: argparse.Namespace) -> int:
    """Print the table of claims of a report, or measure one.

    Returns:
        0; 1 if a claim or a program that was named has no figure; 130 if interrupted.

    Raises:
        OrthoEdgeError: a name, a report, a bundle or an option is not usable.
    """
    words = [word for text in args.given for word in text.split(",")]
    reports = [Path(word) for word in words if word.endswith(".json")]
    named = [word for word in words if not word.endswith(".json")]
    for name in named:
        if name not in claims.NAMES:
            known = ", ".join(claims.NAMES)
            raise ConfigError(f"claim {name!r} is unknown: choose of {known}")
    external = _external(args.external)
    names = named or claims.NAMES
    if external and claims.EXTERNAL_NAME not in names:
        raise ConfigError("--external: external is not among the claims that were named")
    if len(reports) > 1 or (reports and (args.bundle or external or args.rounds)):
        raise ConfigError("claims takes one report, or measures one bundle")
    if reports:
        report = read_report(reports[0])
    else:
        bundle = read_bundle(args.bundle or bundle_path())
        report = _measure(bundle, _claims_settings(args, external, names), args.out)
    table = claims.to_markdown(report, claims.evaluate(report, names))
    print(table)
    if args.out is not None:
        write_atomic(args.out / "claims.md", table.encode())
    if not (reports or report.complete):
        return 130
    asked = [name for name in named if name != claims.EXTERNAL_NAME]
    return int(bool(claims.unmeasured(report, asked, list(external))))


def _measure(bundle: Bundle, settings: RunSettings, out: Path | None) -> Report:
    """Measure one bundle and write its report, which is not complete if interrupted."""

    def save(report: Report) -> None:
        if out is not None:
            write_both(report, to_markdown(report), out, "report")

    report, gallery = measure(bundle, settings, save, _log)
    if out is not None:
        html = ""
        try:
            html = to_html(report, gallery)
        except MissingDependency as error:
            import msgspec

            lacking = Skipped(name="report.html", reason=str(error))
            report = msgspec.structs.replace(report, skipped=(*report.skipped, lacking))
        write_both(report, to_markdown(report), out, "report", html)
    if not report.complete:
        _log("interrupted" + ("" if out is None else f"; {out} holds the results up to then"))
    return report


def _lacking(
    report: Report, bundle: Bundle, targets: Sequence[str], external: Mapping[str, str]
) -> bool:
    """Whether a precision of a target, or a program, that was named could not be measured."""
    named = {f"{target} {p}" for target in targets for p in precisions_of(bundle, target)}
    named |= {EXTERNAL + name for name in external}
    return any(skip.name in named for skip in report.skipped)


def _external(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    programs = dict(given)
    if len(programs) < len(given):
        raise ConfigError("--external: two programs have the same name")
    return programs


def _settings(bundle: Bundle, args: argparse.Namespace, external: Mapping[str, str]) -> RunSettings:
    machine = describe_machine()
    mode = _mode(args)
    targets = tuple(dict.fromkeys(args.target or DEFAULT_TARGETS))
    unlimited = {t: reason for t in targets if args.isa and (reason := why_not_limited(t))}
    if args.target and unlimited:
        raise ConfigError(f"--isa: {next(iter(unlimited.values()))}")
    prepared, paths = _prepared(bundle, args.data, mode)
    images, data, radiograph = _images(args.data, paths)
    return RunSettings(
        machine=machine,
        mode=mode,
        plan=PLANS[mode],
        command=command_of(args),
        targets=tuple(target for target in targets if target not in unlimited),
        threads=args.threads or available_cores(),
        baseline=args.baseline,
        isa_limit=args.isa or "",
        images=images,
        data=data,
        radiograph=radiograph,
        prepared=prepared,
        ensemble=_ensemble(bundle, args.reference, mode),
        external=external,
        skipped=tuple(Skipped(name=t, reason=reason) for t, reason in unlimited.items()),
    )


def _claims_settings(
    args: argparse.Namespace, external: Mapping[str, str], names: Sequence[str]
) -> RunSettings:
    """The parts of a run on x86 that claims need."""
    mode = _mode(args)
    plan = PLANS[mode]._replace(every_precision=False)
    if args.rounds:
        plan = plan._replace(rounds=args.rounds, seconds=0)
    images, data, radiograph = _images(None, ())
    return RunSettings(
        machine=describe_machine(),
        mode=mode,
        plan=plan,
        command=shlex.join(["orthoedge", "benchmark", "claims", *args.given]),
        targets=("x86",),
        threads=args.threads or available_cores(),
        baseline=args.baseline and "baseline" in names,
        isa_limit="",
        images=images,
        data=data,
        radiograph=radiograph,
        prepared=Skipped(name="accuracy", reason="not part of the claims"),
        ensemble=Skipped(name=inputs.ENSEMBLE, reason="not part of the claims"),
        external=external,
        parts=claims.parts_of(names),
    )


def _mode(args: argparse.Namespace) -> Mode:
    return "quick" if args.quick else "full" if args.full else "standard"


def _limit_isa(args: argparse.Namespace, bundle: Bundle) -> None:
    """Restart this process with the limit in its environment: libraries read it once, at load."""
    environment = limited_environment(args.isa, bundle)
    if environment != dict(os.environ):
        command = [*module_command("orthoedge.cli.main"), *shlex.split(command_of(args))[1:]]
        os.execve(sys.executable, command, environment)


def command_of(args: argparse.Namespace) -> str:
    """The command that repeats a run, with every option that affects its figures."""
    words = ["orthoedge", "benchmark", "run", *map(bundle_argument, args.bundles)]
    for target in args.target or ():
        words += ["--target", target]
    words += ["--quick"] if args.quick else ["--full"] if args.full else []
    for name in ("data", "reference", "out", "threads", "isa"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    words += [] if args.baseline else ["--no-baseline"]
    for name, command in args.external:
        words += ["--external", f"{name}={command}"]
    words += ["--fail-if", *args.fail_if] if args.fail_if else []
    return shlex.join(words)


def _images(data: Path | None, paths: Sequence[Path]) -> tuple[tuple[Pixels, ...], str, Path]:
    """Radiographs to time, their description, and the file of the first."""
    if data is None:
        images = sample_images(_SIDE)
        return images, f"{len(images)} phantoms of {_SIDE}×{_SIDE}", samples()[0]
    if not paths:
        raise DataError(f"{data}: no radiograph in this folder")
    paths = paths[:: -(-len(paths) // _MAX_TIMED)]
    read = tuple(read_image(path).pixels for path in paths)
    sizes = sorted({image.shape[::-1] for image in read})
    ends = dict.fromkeys(f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
    return read, f"{len(read)} radiographs of {data}, {' to '.join(ends)}", paths[0]


def _prepared(
    bundle: Bundle, data: Path | None, mode: Mode
) -> tuple[Prepared | Skipped, Sequence[Path]]:
    """The labelled radiographs to measure accuracy on, and the files of --data.

    A mistake in --data is raised. Phantoms that do not fit the bundle only skip accuracy.
    """
    if data is None and bundle.manifest.data == "radiographs":
        lacking = "phantoms say nothing about a bundle from radiographs; --data names labelled ones"
        return Skipped(name="accuracy", reason=lacking), ()
    if data is not None and not inputs.has_labels(data):
        contents = list_folder(data)
        for entry in contents.unreadable:
            raise DataError(f"{entry.path}: cannot be read: {entry.reason}")
        if line := contents.line():
            _log(line)
        return Skipped(name="accuracy", reason=f"{data} names no labels"), contents.images
    _log("labelled radiographs")
    try:
        with inputs.open_labelled(data, bundle.manifest.labels, inputs.COUNTS[mode]) as labelled:
            files = [image for image in labelled.images if isinstance(image, Path)]
            return prepare(bundle, labelled), files
    except (ModuleNotFoundError, DataError) as error:
        if data is not None:
            raise
        reason: Exception = error
        if isinstance(error, ModuleNotFoundError):
            reason = MissingDependency(error.name or "scipy", "train", "rendering phantoms")
    return Skipped(name="accuracy", reason=str(reason)), ()


def _ensemble(bundle: Bundle, reference: Path | None, mode: Mode) -> ReferenceModel | Skipped:
    if reference is None and mode == "quick":
        reason = "exporting one takes too long for --quick; --reference names an ONNX file"
        return Skipped(name=inputs.ENSEMBLE, reason=reason)
    _log("the float32 ensemble")
    if reference is None:
        return inputs.random_ensemble(bundle)
    return inputs.open_reference(reference, bundle)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
