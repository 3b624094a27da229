"""Files that a verb reads, and the names of the files that it writes for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from orthoedge.cli import terminal
from orthoedge.runtime.errors import InputError

__all__ = ["UniqueNames", "list_files", "output_name", "prepare_output"]

_LONGEST_NAME = 240  # bytes of a name before `_2.side.png`; file systems take 255


def list_files(paths: Sequence[Path], named: bool) -> list[tuple[Path, str]]:
    """List the files to read in order, each with why it cannot be read, where that is known.

    Args:
        paths: files and folders.
        named: whether messages may name files.

    Raises:
        InputError: there is none.
    """
    from orthoedge.runtime.image_io.folder import list_folder

    files: list[tuple[Path, str]] = []
    lines = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
            files.append((path, ""))
            continue
        contents = list_folder(path)
        unreadable = ((entry.path, entry.reason) for entry in contents.unreadable)
        files += sorted((*((image, "") for image in contents.images), *unreadable))
        lines += [line] if (line := contents.line(named)) else []
    if not files:
        where = f" in {', '.join(map(str, paths))}" if named else ""
        raise InputError("; ".join((f"no image files{where}", *lines)))
    for line in lines:
        terminal.write_error(f"orthoedge: {terminal.printable(line)}\n")
    return files


class UniqueNames:
    """Names of what is written for each file, none of which another one has.

    Args:
        suffixes: of the files that are written for one that is read.
    """

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._suffixes = suffixes
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}  # not from 2 for each of 1,000 folders with an IM000001

    def of(self, stem: str) -> list[str]:
        """Return the names for one file, with a number where they are taken."""
        # Two folders may hold files of the same name, a file may have the name of another's
        # side-by-side picture, and disks exist where a.png and A.png are one file.
        name, key = stem, stem.casefold()
        while not self._names.isdisjoint(f"{name.casefold()}{end}" for end in self._suffixes):
            self._counts[key] = self._counts.get(key, 1) + 1
            name = f"{stem}_{self._counts[key]}"
        names = [f"{name}{end}" for end in self._suffixes]
        self._names.update(one.casefold() for one in names)
        return names


def output_name(path: Path) -> str:
    """Return the name without the suffix of an image: the last number of a UID is no suffix."""
    from orthoedge.runtime.image_io.folder import SUFFIXES

    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    while len(name.encode(errors="surrogatepass")) > _LONGEST_NAME:
        name = name[:-1]
    return name


def prepare_output(
    folder: Path, option: str, kind: str, files: Iterable[tuple[Path, str]], named: bool
) -> None:
    """Create the folder for what is written, unless that could replace a radiograph in it.

    Args:
        folder: to be created.
        option: that names it.
        kind: of what is written, for the message.
        files: from `list_files`.
        named: whether messages may name files.

    Raises:
        InputError: a radiograph lies in the folder, or it is a file.
    """
    here = os.path.realpath(folder)
    for path, _ in files:
        try:  # the folder of the name, and that of the file itself if the name is a link
            folders = os.path.realpath(path.parent), str(Path(os.path.realpath(path)).parent)
        except (OSError, ValueError):  # reading it says why
            continue
        if here in folders:
            example = path.name if named else "one of the radiographs"
            raise InputError(
                f"{option} {folder}: holds {example}, which {kind} could replace; "
                "choose another folder"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {folder}: not a folder")
    folder.mkdir(parents=True, exist_ok=True)
