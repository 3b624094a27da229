"""What `orthoedge predict` prints and writes for one file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli.terminal import printable
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph


@dataclass(frozen=True)
class FileOutput:
    """Lines for one file."""

    stdout: str
    stderr: str
    """Empty unless something failed."""


def failure_output(name: str, error: Exception, as_json: bool) -> FileOutput:
    """Lines for a file that could not be predicted."""
    reason = _reason(error)
    record = _json_line({"path": _unicode(name), "error": reason}) if as_json else ""
    return FileOutput(record, f"orthoedge: {printable(name)}: {reason}\n")


def finding_output(name: str, finding: Finding, as_json: bool) -> FileOutput:
    """Lines for a finding without pictures."""
    return FileOutput((_record if as_json else _lines)(name, finding, ()), "")


def drawn_output(
    name: str,
    file: Path,
    radiograph: Radiograph,
    finding: Finding,
    pictures: tuple[Path, ...],
    as_json: bool,
) -> FileOutput:
    """Write a finding's pictures, and return the lines for it.

    Args:
        name: what the file is called in the lines.
        file: the file itself; only pictures of the same content are replaced.
        radiograph: as read.
        finding: the finding for it.
        pictures: where the overlay and the side-by-side go.
        as_json: one JSON object in place of text.
    """
    from orthoedge.runtime.atomic_files import file_sha256, write_together
    from orthoedge.runtime.overlay.overlay import overlay, side_by_side, to_png
    from orthoedge.runtime.overlay.png_source import with_source

    drawn = zip(pictures, (overlay, side_by_side), strict=True)
    failure = ""
    try:  # both or none, because a map alone hides what it points at
        source = file_sha256(file)
        _check_replaced(pictures, source)
        write_together(
            pictures[0].parent,
            (
                (picture.name, with_source(to_png(draw(radiograph, finding)), source))
                for picture, draw in drawn
            ),
        )
    except (OSError, InputError, MemoryError) as error:  # the finding itself is valid
        pictures = ()
        failure = f"orthoedge: {printable(name)}: picture not written: {_reason(error)}\n"
    lines = _record if as_json else _lines
    return FileOutput(lines(name, finding, pictures), failure)


def _check_replaced(pictures: Iterable[Path], source: str) -> None:
    """Let pictures be replaced by those of the same radiograph alone.

    Raises:
        InputError: a file is there, and is no picture of it.
        OSError: one cannot be read.
    """
    from orthoedge.runtime.overlay.png_source import source_of

    for picture in pictures:
        if source_of(picture) not in (None, source):
            raise InputError(
                f"{picture} is there, and not of this radiograph; choose another --overlay"
            )


def _record(name: str, finding: Finding, pictures: tuple[Path, ...]) -> str:
    import msgspec

    record = {"path": _unicode(name), "error": None, **msgspec.json.decode(finding.to_json())}
    record["overlay"] = _unicode(pictures[0]) if pictures else None
    record["side_by_side"] = _unicode(pictures[1]) if pictures else None
    return _json_line(record)


def _lines(name: str, finding: Finding, pictures: tuple[Path, ...]) -> str:
    verdict, timing, source = finding.verdict, finding.timing_ms, finding.provenance
    probabilities = ", ".join(f"{label} {p:.3f}" for label, p in verdict.probabilities.items())
    lines = [
        f"{printable(name)}: {describe(finding)}",
        f"  probabilities  {probabilities}",
        f"  milliseconds   read {timing.read:.2f}, preprocess {timing.preprocess:.2f}, "
        f"inference and map {timing.inference:.2f}, decide {timing.decide:.2f}, "
        f"total {timing.total:.2f}",
        f"  engine         {source.engine} {source.precision} ({source.isa})",
        *([f"  instead of     {printable(source.fallback)}"] if source.fallback else []),
        *_outlines(finding),
        *(f"  note           {note}" for note in finding.notes),
        *(f"  picture        {printable(str(picture))}" for picture in pictures),
    ]
    return "".join(f"{line}\n" for line in lines)


def _outlines(finding: Finding) -> list[str]:
    """Lines on what the network outlines; none where the bundle has no such output."""
    from orthoedge.runtime.lesions.wording import area_of, size_of

    if finding.lesions is None:
        return []
    shown = [f"  outlined       {size_of(one)}, {area_of(one)}" for one in finding.lesions]
    return shown or ["  outlined       nothing"]


def describe(finding: Finding) -> str:
    """Label, probability and decision in one line; no label for a rejected image."""
    from orthoedge.runtime.decision import percentage

    verdict = finding.verdict
    shown = f"{verdict.label} {percentage(verdict.probabilities[verdict.label])}"
    if verdict.decision == "reject":
        shown = "no answer"
    line = f"{shown} -> {verdict.decision}"
    return f"{line} ({'; '.join(verdict.reasons)})" if verdict.reasons else line


def _json_line(record: dict[str, object]) -> str:
    import msgspec

    line = msgspec.json.encode(record).decode()
    # ASCII, so that it is JSON whatever the encoding of stdout (RFC 8259, section 7).
    return re.sub(r"[^\x00-\x7f]", _escape, line) + "\n"


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _unicode(path: Path | str) -> str:
    """The path as Unicode in any locale; bytes of a name that are not UTF-8 become escapes."""
    text = str(path)
    with suppress(UnicodeEncodeError):  # no name of a file
        text = os.fsencode(text).decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = reason or "not enough memory"  # a MemoryError says nothing
    return printable(" ".join(reason.split()))
