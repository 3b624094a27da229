"""Atomic writes: a file is the old one, the new one or absent, never half-written.

An unfinished file is named `.orthoedge-*.tmp` and locked by its writer. The lock of a killed writer
is gone with it, so the next process that writes into the folder can tell which files to remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".orthoedge-{}.tmp"
_swept: set[Path] = set()  # once per process: listing a large folder takes longer than a write


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`: under a temporary name in the same folder, synced, then renamed.

    Raises:
        OSError: the file cannot be written; `filename` is `path`, and the old file is unchanged.
    """
    with atomic(path) as file:
        file.write(data)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that becomes `path` on exit, or is removed on an error.

    Raises:
        OSError: as `write_atomic`.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder)
        temporary, descriptor = _create(folder, is_folder=False)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        if error.filename is None or Path(error.filename).match(_TEMPORARY.format("*")):
            error.filename = str(path)
        raise


@contextmanager
def staging(parent: Path, target: Path) -> Iterator[Path]:
    """Make a temporary folder inside `parent` for files that must not be visible before all exist.

    Args:
        parent: created if missing; the temporary folder is removed on exit, unless it was renamed.
        target: path that errors name in place of the temporary folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(parent)
    temporary, lock = _create(parent, is_folder=True)
    try:
        yield temporary
    except OSError as error:
        if error.filename is not None:
            error.filename = str(error.filename).replace(str(temporary), str(target))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


@contextmanager
def together(folder: Path, last: str) -> Iterator[Path]:
    """Make a temporary folder whose files are moved to `folder` once all of them are complete.

    If a file cannot be written or moved, `folder` stays unchanged. A kill between two of the
    renames leaves a mix of old and new files without `last`, which is removed before the first
    rename and written last.

    Args:
        folder: created if missing.
        last: name of the file whose presence means that all files belong together.
    """
    with staging(folder, folder) as temporary:
        yield temporary
        names = sorted(file.name for file in temporary.iterdir() if file.name != last)
        _move_all(temporary, folder, [*names, last], last)


def write_together(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files that belong together: all of them, or none, and then the old ones stay.

    A kill between two of the renames leaves new files next to old ones.

    Args:
        folder: created if missing.
        files: name and content; each is written before the next one is asked for.

    Raises:
        OSError: a file cannot be written; `filename` is its path in `folder`.
    """
    with staging(folder, folder) as temporary:
        names = []
        for name, data in files:
            write_atomic(temporary / name, data)
            names.append(name)
        _move_all(temporary, folder, names)


def _move_all(temporary: Path, folder: Path, names: Sequence[str], last: str = "") -> None:
    """Move the named files to `folder`, or if one cannot be moved, restore the old ones."""
    old = temporary / _TEMPORARY.format("old")
    old.mkdir()
    replaced = [name for name in names if _back_up(folder / name, old / name)]
    try:
        if last:
            (folder / last).unlink(missing_ok=True)
        for name in names:
            (temporary / name).replace(folder / name)
    except Exception:  # not an interrupt: then `last` tells, as after a kill
        for name in names:
            if name in replaced:
                (old / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        raise
    sync_folder(folder)


def _back_up(file: Path, copy: Path) -> bool:
    """Keep a file under a second name, or as a copy where there are no hard links."""
    try:
        copy.hardlink_to(file)
    except FileNotFoundError:
        return False
    except OSError:
        shutil.copy2(file, copy)  # raises for a folder of that name
    return True


def sync_folder(folder: Path) -> None:
    """Sync `folder`, so that a rename inside it survives a power cut."""
    sync_path(folder)


def sync_path(path: Path) -> None:
    """Sync a file or folder that is not open."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex, which is not held in memory.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _create(parent: Path, is_folder: bool) -> tuple[Path, int]:
    """Create a temporary file or folder and lock it; return its path and descriptor."""
    while True:
        temporary = parent / _TEMPORARY.format(os.urandom(8).hex())
        temporary.mkdir() if is_folder else temporary.touch(exist_ok=False)
        with contextlib.suppress(FileNotFoundError):  # another process removed it, so try again
            descriptor = os.open(temporary, os.O_RDONLY if is_folder else os.O_WRONLY)
            # Without locks in the file system no process can remove it either.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if temporary.exists():
                return temporary, descriptor
            os.close(descriptor)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove the temporary files of killed processes from `folder`; once per process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for stale in folder.glob(_TEMPORARY.format("*")):
        with contextlib.suppress(OSError):  # locked, since its writer lives; or already removed
            descriptor = os.open(stale, os.O_RDONLY if stale.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
            finally:
                os.close(descriptor)
