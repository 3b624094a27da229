"""Backup of a history into a folder, and the way back.

A backup is a history itself: a snapshot of the database and the pixels that it names, so that it
can be checked, and opened by `orthoedge clinic --folder`. The next backup into the same folder
writes only what is new, and removes what was deleted since. The database is renamed into place
last, when all pixels that it names are there. Two at once into one folder would each remove the
other's pixels, so that one of them is refused.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from orthoedge.clinic.file_system import only_one
from orthoedge.clinic.history.history import DATABASE, LOCK, History
from orthoedge.clinic.history.pixels import PixelFiles
from orthoedge.runtime.atomic_files import staging, sync_folder, sync_path
from orthoedge.runtime.errors import ConfigError, DataError

__all__ = ["Copied", "back_up", "check_history", "restore"]

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Copied:
    """What a backup holds."""

    findings: int
    new_files: int
    """Files of pixels that were not there before."""


def back_up(history: History, target: Path) -> Copied:
    """Copy a history into a folder, while others go on using it.

    Args:
        history: stays as it is.
        target: made if it is missing; else a former backup, which is brought up to date.

    Raises:
        ConfigError: the folder holds something else, or is that of the history, in it or above it.
        DataError: pixels are missing or damaged, and the former backup stays; or the folder is in
            use by a server, or by another backup or restore.
        OSError: the disk is full or fails; likewise.
    """
    _check_target(history, target)
    with _alone_in(target):
        return _copy(history, target)


def _copy(history: History, target: Path, *, is_new: bool = False) -> Copied:
    """Copy a history into a folder that no one else uses; a new one may not be there at the end."""
    with staging(target, target) as temporary:
        history.database.copy(temporary / DATABASE)
        sync_path(temporary / DATABASE)
        snapshot = History(temporary)
        try:
            copied = _copy_pixels(history, snapshot, target)
        finally:
            snapshot.close()
        if is_new:  # a node whose settings name the folder makes a history whenever it wants to
            _check_new(target)
        for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):  # of a backup that was opened
            (target / name).unlink(missing_ok=True)
        (temporary / DATABASE).replace(target / DATABASE)
    sync_folder(target)
    backup = History(target)
    try:
        backup.remove_unnamed(young_s=0)
    finally:
        backup.close()
    return copied


def restore(backup: Path, folder: Path) -> Copied:
    """Make a history from a backup, after every byte of it was checked.

    Args:
        backup: stays as it is.
        folder: of the new history; must not hold one.

    Raises:
        ConfigError: the folder is not empty, or is in that of the backup or above it.
        DataError: there is no backup, or it is damaged, and nothing was written; or the folder is
            in use by a server, or by another backup or restore.
        OSError: the disk is full or fails.
    """
    if not (backup / DATABASE).is_file():
        raise DataError(f"{backup}: no backup: it holds no {DATABASE}")
    _check_new(folder)
    source = History(backup)
    try:
        if problems := check_history(source):
            raise DataError(f"{backup}: damaged: {problems[0]}")
        _check_target(source, folder)
        with _alone_in(folder):
            _check_new(folder)  # once more: another restore may have ended meanwhile
            return _copy(source, folder, is_new=True)
    finally:
        source.close()


def check_history(history: History) -> tuple[str, ...]:
    """Compare the whole database with itself, and every pixel with its hash; what is wrong."""
    problems = list(history.database.check())
    for digest in _named(history):
        try:
            history.pixels.check(digest)
        except (DataError, OSError) as error:
            problems.append(str(error))
            if len(problems) >= _MOST_PROBLEMS:
                break
    return tuple(problems)


def _alone_in(target: Path) -> AbstractContextManager[object]:
    """Keep a server, and any other backup or restore, from the folder."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    what = f"{target}: a server, a backup or a restore uses this folder at the moment"
    return only_one(target / LOCK, what, "try again when it has ended, or choose another folder")


def _check_new(folder: Path) -> None:
    if (folder / DATABASE).exists():
        raise ConfigError(f"{folder}: holds a history; move it away, or choose another --folder")


def _check_target(history: History, target: Path) -> None:
    here, there = history.folder.resolve(), target.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise ConfigError(
            f"{target}: is, lies in or holds the folder {history.folder}; choose one apart from it"
        )
    if target.is_dir() and not (target / DATABASE).exists() and any(target.iterdir()):
        allowed = {"pixels", "accounts.json", f"{DATABASE}-wal", f"{DATABASE}-shm"}
        names = {path.name for path in target.iterdir()} - allowed
        if any(not name.startswith(".orthoedge-") for name in names):
            raise ConfigError(f"{target}: holds other files; choose an empty folder")


def _copy_pixels(history: History, snapshot: History, target: Path) -> Copied:
    """Copy the pixels that a snapshot names; each was compared with its hash."""
    new, kept = 0, PixelFiles(target / "pixels")
    for digest in _named(snapshot):
        is_newer = history.pixels.is_packed(digest) and not kept.is_packed(digest)
        if kept.has(digest) and not is_newer:
            continue
        file, is_packed = history.pixels.open(digest)
        with file:
            kept.keep(digest, file, is_packed)
        new += 1
    ((count,),) = snapshot.database.read("SELECT count(*) FROM findings")
    target.chmod(0o700)
    return Copied(int(str(count)), new)


def _named(history: History) -> list[str]:
    rows = history.database.read("SELECT DISTINCT pixels FROM findings WHERE pixels IS NOT NULL")
    return [str(row[0]) for row in rows]
