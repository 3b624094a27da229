"""What `orthoedge predict` says of one file, in this process or in one of several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orthoedge.cli.terminal import hold_stderr, printable
from orthoedge.runtime.errors import DeadlineExceeded, InputError, MissingDependency

if TYPE_CHECKING:
    from orthoedge.runtime.image_io.radiograph import Radiograph
    from orthoedge.runtime.pipeline import Finding, Pipeline
    from orthoedge.runtime.settings import BundleTrust


@dataclass(frozen=True)
class Settings:
    """What every file is predicted with."""

    bundle: Path | None
    trust: BundleTrust
    target: str
    precision: Literal["auto", "int8", "fp32", "fp16"]
    threads: int | None
    cache: Path | None
    deadline_ms: float | None
    memory_mb: float | None
    as_json: bool
    isolate: bool

    def open(self) -> Pipeline:
        """Open the pipeline; raises as `open_pipeline`."""
        from orthoedge.runtime import SandboxedReader, SandboxLimits, read_image
        from orthoedge.targets import CallLimits, EngineOptions, open_pipeline

        usual = SandboxLimits()
        seconds = usual.time_s if self.deadline_ms is None else self.deadline_ms / 1e3
        sandbox = SandboxLimits(seconds, self.memory_mb or usual.memory_mb)
        return open_pipeline(
            self.bundle,
            target=self.target,
            precision=self.precision,
            engine=EngineOptions(self.threads, self.cache),
            limits=CallLimits(self.deadline_ms, self.memory_mb),
            trust=self.trust,
            reader=SandboxedReader(sandbox) if self.isolate else read_image,
        )


@dataclass(frozen=True)
class Task:
    """One file, and where its pictures go."""

    path: Path
    name: str
    """What it is called in all that is printed."""
    pictures: tuple[Path, ...] = ()
    """Overlay and side by side; none where none are wanted."""


@dataclass(frozen=True)
class Answer:
    """What is printed of one file."""

    out: str
    """Lines for stdout."""
    error: str
    """Lines for stderr; empty where nothing failed."""


def answer(pipeline: Pipeline, task: Task, as_json: bool) -> Answer:
    """Predict one file and draw its pictures.

    Raises:
        EngineError: the engine failed, so that no other file can be predicted either.
    """
    try:
        with hold_stderr() as printed:
            radiograph, finding = pipeline.predict_with_image(task.path)
    except (InputError, MissingDependency, DeadlineExceeded, OSError) as error:
        reason = _reason(error)
        out = _json_line({"path": _text(task.name), "error": reason}) if as_json else ""
        return Answer(out, _error_line(task.name, reason))
    finding = replace(finding, notes=(*finding.notes, *(f"decoder: {it}" for it in printed)))
    pictures, failure = task.pictures, ""
    try:
        _write_pictures(pictures, radiograph, finding)
    except OSError as error:  # such as a full disk; the finding itself stands
        pictures = ()
        failure = _error_line(task.name, f"picture not written: {_reason(error)}")
    report = _record if as_json else _lines
    return Answer(report(task.name, finding, pictures), failure)


def _write_pictures(pictures: tuple[Path, ...], radiograph: Radiograph, finding: Finding) -> None:
    """Write both pictures; always both, because a map alone hides what it points at."""
    from orthoedge.runtime.atomic_files import write_atomic
    from orthoedge.runtime.overlay.overlay import overlay, side_by_side, to_png

    for picture, draw in zip(pictures, (overlay, side_by_side), strict=False):
        write_atomic(picture, to_png(draw(radiograph, finding)))


def _record(name: str, finding: Finding, pictures: tuple[Path, ...]) -> str:
    import msgspec

    record = {"path": _text(name), "error": None, **msgspec.json.decode(finding.to_json())}
    record["overlay"] = _text(pictures[0]) if pictures else None
    record["side_by_side"] = _text(pictures[1]) if pictures else None
    return _json_line(record)


def _lines(name: str, finding: Finding, pictures: tuple[Path, ...]) -> str:
    verdict, timing, source = finding.verdict, finding.timing_ms, finding.provenance
    others = ", ".join(f"{label} {p:.3f}" for label, p in verdict.probabilities.items())
    lines = [
        f"{printable(name)}: {describe(finding)}",
        f"  probabilities  {others}",
        f"  milliseconds   read {timing.read:.2f}, preprocess {timing.preprocess:.2f}, "
        f"inference and map {timing.inference:.2f}, decide {timing.decide:.2f}, "
        f"total {timing.total:.2f}",
        f"  engine         {source.engine} {source.precision} ({source.isa})",
        *([f"  instead of     {printable(source.fallback)}"] if source.fallback else []),
        *(f"  note           {note}" for note in finding.notes),
        *(f"  picture        {printable(str(picture))}" for picture in pictures),
    ]
    return "".join(f"{line}\n" for line in lines)


def describe(finding: Finding) -> str:
    """Label, probability and decision in one line; of what is rejected, no label."""
    from orthoedge.runtime.decision import percentage

    verdict = finding.verdict
    said = f"{verdict.label} {percentage(verdict.probabilities[verdict.label])}"
    if verdict.decision == "reject":
        said = "no answer"
    line = f"{said} -> {verdict.decision}"
    return f"{line} ({'; '.join(verdict.reasons)})" if verdict.reasons else line


def _error_line(name: str, reason: str) -> str:
    return f"orthoedge: {printable(name)}: {reason}\n"


def _json_line(record: dict[str, object]) -> str:
    import msgspec

    return msgspec.json.encode(record).decode() + "\n"


def _text(path: Path | str) -> str:
    """The path as Unicode; bytes of a name that are none come out as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(reason.split()))
