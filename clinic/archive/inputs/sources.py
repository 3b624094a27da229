"""Where the inputs of an archive are listed: a folder, an index, a list, a DICOMweb service."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orthoedge.runtime.errors import DataError

__all__ = ["ArchiveInput", "is_address", "list_inputs"]


@dataclass(frozen=True)
class ArchiveInput:
    """One radiograph of an archive."""

    address: bytes
    """Absolute path as the system has it, or the address of an instance of a DICOMweb service."""
    source: str
    """Collection: as the index names it; in a folder the first folder below it, else empty; of
    a DICOMweb service its address."""
    truth: str = ""
    """Label that the index gives; empty where none is given."""

    @property
    def name(self) -> str:
        """The address as text, by which the store knows it.

        One that is no UTF-8 becomes `bytes:` and the path with escapes, which no other path has.
        """
        try:
            return self.address.decode()
        except UnicodeDecodeError:
            escaped = self.address.replace(b"\\", b"\\\\")
            return f"bytes:{escaped.decode('utf-8', 'backslashreplace')}"


def is_address(source: str) -> bool:
    """Whether a source is a DICOMweb service."""
    return source.startswith(("http://", "https://"))


def list_inputs(source: str, authorization: Path | None = None) -> Iterator[ArchiveInput]:
    """List the inputs of a source one by one, so that memory does not grow with the archive.

    Args:
        source: a folder, of which every image is listed, and every file that cannot be read; an
            index, whose name ends in .csv; any other file, with one path a line; or the address
            of a DICOMweb service, with the attributes to search studies by after a `?`.
        authorization: file that holds the `Authorization` header for a DICOMweb service.

    Raises:
        DataError: the source cannot be read, or a line of it names no input.
        DestinationError: the DICOMweb service cannot be reached.
    """
    if is_address(source):
        from orthoedge.clinic.archive.inputs.dicomweb import list_instances

        return list_instances(source, authorization)
    path = Path(source).absolute()
    if path.is_dir():
        return _list_folder(path)
    return _list_index(path) if path.suffix.lower() == ".csv" else _list_lines(path)


def _list_folder(folder: Path) -> Iterator[ArchiveInput]:
    from orthoedge.runtime.image_io.folder import walk_folder

    start = len(str(folder).rstrip("/")) + 1
    for path, kind, reason in walk_folder(folder):
        if path == str(folder) and kind == "unreadable":
            raise DataError(f"{folder}: {reason}")
        if kind != "passed over":
            first, _, below = path[start:].partition("/")
            source = os.fsencode(first).decode("utf-8", "backslashreplace") if below else ""
            yield ArchiveInput(os.fsencode(path), source)


def _list_index(file: Path) -> Iterator[ArchiveInput]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            if "path" not in (reader.fieldnames or ()):
                raise DataError(f"{file}, line 1: column path is missing")
            for row in reader:
                path = (row["path"] or "").strip()
                if not path or "\0" in path:
                    raise DataError(f"{file}, line {reader.line_num}, column path: no path")
                source, truth = ((row.get(key) or "").strip() for key in ("source", "label"))
                yield ArchiveInput(_absolute(file, os.fsencode(path)), source, truth)
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{file}: not a readable index: {error}") from error


def _list_lines(file: Path) -> Iterator[ArchiveInput]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                path = line.rstrip(b"\r\n")
                if b"\0" in path:
                    raise DataError(f"{file}, line {number}: not a path; a list has one a line")
                if path:
                    yield ArchiveInput(_absolute(file, path), "")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from error


def _absolute(file: Path, path: bytes) -> bytes:
    """The path from the folder of the list, without `.` and `..`, so that it has one name."""
    return os.path.normpath(os.path.join(os.fsencode(file.parent), path))  # noqa: PTH118
