"""The radiographs below a folder, found by content, and a record of everything else there."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orthoedge.runtime.dicom.encoding import HEAD
from orthoedge.runtime.image_io.headers import recognize
from orthoedge.runtime.settings import plain

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom"})
"""Suffixes of image files, in lower case."""
_DIRECTORY = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage (PS3.6, table A-1)
_NO_IMAGE = "not an image"
_NAMED = 5  # of the files that were passed over


@dataclass(frozen=True, order=True)
class Entry:
    """A file or folder that was not listed as an image."""

    path: Path
    """Where it is."""
    reason: str
    """Why it was not listed."""


@dataclass(frozen=True)
class FolderContents:
    """What lies below a folder; each part sorted by path."""

    images: tuple[Path, ...]
    """Files whose content is that of an image, or whose suffix says so."""
    passed_over: tuple[Entry, ...]
    """Other files; and links to folders that are listed already, or that hold this one."""
    unreadable: tuple[Entry, ...]
    """Folders and files that the system refuses to read; links to nothing."""

    def line(self, names: bool = True) -> str:
        """Count what was passed over, with the first names; empty if nothing was.

        Args:
            names: False where names may identify patients.
        """
        count = len(self.passed_over)
        if not count:
            return ""
        counted = f"passed over {plain(count)} {'entry' if count == 1 else 'entries'}"
        if not names:
            return counted
        shown = [
            str(entry.path) if entry.reason == _NO_IMAGE else f"{entry.path} ({entry.reason})"
            for entry in self.passed_over[:_NAMED]
        ]
        more = [f"and {plain(count - _NAMED)} more"] if count > _NAMED else []
        return f"{counted} that {'is' if count == 1 else 'are'} no image: {', '.join(shown + more)}"


def find_images(folder: Path) -> list[Path]:
    """Find the radiographs below a folder, sorted by path.

    They are recognized by their first bytes, so DICOM files without a suffix are found; a file with
    the suffix of an image is listed whatever it holds. Links to folders are followed, and each
    folder is listed once. What cannot be read is listed too, so that reading it raises the
    InputError that says why. `list_folder` also returns what was passed over.
    """
    contents = list_folder(folder)
    return sorted((*contents.images, *(entry.path for entry in contents.unreadable)))


def list_folder(folder: Path) -> FolderContents:
    """List everything below a folder, as images or with the reason why it is none.

    Nothing is raised: a folder that does not exist or cannot be read is in `unreadable`.
    """
    images: list[Path] = []
    passed_over: list[Entry] = []
    unreadable: list[Entry] = []
    for path, kind, reason in walk_folder(folder):
        if kind == "image":
            images.append(Path(path))
        else:
            entries = passed_over if kind == "passed over" else unreadable
            entries.append(Entry(Path(path), reason))
    return FolderContents(
        tuple(sorted(images)), tuple(sorted(passed_over)), tuple(sorted(unreadable))
    )


Kind = Literal["image", "passed over", "unreadable"]
"""What an entry of a folder is, as in `FolderContents`."""


def walk_folder(folder: Path) -> Iterator[tuple[str, Kind, str]]:
    """Yield everything below a folder as it is found, for folders too large for `list_folder`.

    Yields:
        Path, kind, and the reason why it is no image; empty for an image.
    """
    visited = set(_parents(folder))
    # Links come last, so that a folder is listed under its own name if it has one here.
    waiting, links = deque([str(folder)]), deque[str]()
    while waiting or links:
        place = waiting.popleft() if waiting else links.popleft()
        try:
            status = os.stat(place)  # noqa: PTH116 - 100,000 names are not made paths first
            if (key := (status.st_dev, status.st_ino)) in visited:
                yield place, "passed over", "a link to a folder that is listed already"
                continue
            visited.add(key)
            with os.scandir(place) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir():
                            (links if entry.is_symlink() else waiting).append(entry.path)
                            continue
                        reason = _why_no_image(entry)
                    except OSError as error:
                        yield entry.path, "unreadable", error.strerror or str(error)
                        continue
                    yield entry.path, "passed over" if reason else "image", reason
        except (OSError, ValueError) as error:
            yield place, "unreadable", getattr(error, "strerror", None) or str(error)


def _parents(folder: Path) -> Iterator[tuple[int, int]]:
    """Device and number of the folders that hold `folder`: a link to one would be a loop."""
    try:
        for parent in folder.resolve().parents:
            status = parent.stat()
            yield status.st_dev, status.st_ino
    except (OSError, ValueError, RuntimeError):  # the folder itself cannot be read either
        return


def _why_no_image(entry: os.DirEntry[str]) -> str:
    """Return why a file is passed over; empty for an image."""
    if not entry.is_file():
        is_regular = stat.S_ISREG(entry.stat().st_mode)  # raises for a link to nothing
        return "" if is_regular else "a pipe, a socket or a device"
    name = entry.name
    if name.startswith(".orthoedge-") and name.endswith(".tmp"):
        return "an unfinished file"  # of `atomic_files`
    # macOS writes `._name.png` next to name.png on other systems' disks.
    if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
        return ""
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        head = os.read(descriptor, HEAD)
    finally:
        os.close(descriptor)
    kind = recognize(head)
    # Two letters do not make a picture of a text that begins with "BMI"; its reserved bytes do.
    if kind is None or (kind == "BMP" and head[6:10] != bytes(4)):
        return _NO_IMAGE
    return "a DICOM directory" if kind == "DICOM" and _DIRECTORY in head else ""
