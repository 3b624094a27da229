"""Files that are either the old one, the new one or absent, never half-written.

Until a file is whole it is called `.orthoedge-*.tmp` and locked by who writes it. A killed writer's
lock goes with it, so the next process that writes into the folder knows what to remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".orthoedge-{}.tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`: under a temporary name beside it, synced, then renamed.

    Raises:
        OSError: it cannot be written; `filename` is `path`, and what was there is still there.
    """
    with atomic(path) as file:
        file.write(data)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that becomes `path` at the end, or is removed if an error comes first.

    Raises:
        OSError: as `write_atomic`.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder)
        temporary, file = _new_file(folder)
        try:
            with file:
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
def staging(place: Path, target: Path) -> Iterator[Path]:
    """Make a folder inside `place` for what is not to be seen before it is whole.

    Args:
        place: made where it does not exist; the folder in it is removed at the end, if still there.
        target: what an error calls the folder.
    """
    place.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(place)
    temporary, lock = _new_folder(place)
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
    """Make a folder for files that appear in `folder` once all of them are whole.

    On a full disk `folder` stays as it was. A kill between two of the renames leaves old files
    beside new ones; `last` is absent then, since it goes before the first and comes last.

    Args:
        folder: made where it does not exist.
        last: name of the file that says that the others belong together.
    """
    with staging(folder, folder) as temporary:
        yield temporary
        (folder / last).unlink(missing_ok=True)
        for file in sorted(temporary.iterdir(), key=lambda file: (file.name == last, file.name)):
            file.replace(folder / file.name)
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(data: bytes) -> str:
    """SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _unused(folder: Path) -> Path:
    return folder / _TEMPORARY.format(os.urandom(8).hex())


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    while True:
        temporary = _unused(folder)
        file = temporary.open("xb")
        if _hold(file.fileno(), temporary):
            return temporary, file
        file.close()


def _new_folder(place: Path) -> tuple[Path, int]:
    while True:
        temporary = _unused(place)
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError):  # swept already
            descriptor = os.open(temporary, os.O_RDONLY)
            if _hold(descriptor, temporary):
                return temporary, descriptor
            os.close(descriptor)


def _hold(descriptor: int, temporary: Path) -> bool:
    """Lock what was just made; False if another process swept it before it was locked."""
    # A file system without locks can sweep nothing either, so there a write is safe all the same.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return temporary.exists()


@functools.lru_cache(maxsize=256)  # listing a large folder takes longer than writing a file
def remove_stale_temporaries(folder: Path) -> None:
    """Remove what killed processes left in `folder`; once per process."""
    for left in folder.glob(_TEMPORARY.format("*")):
        with contextlib.suppress(OSError):  # locked: its writer lives; or gone meanwhile
            descriptor = os.open(left, os.O_RDONLY if left.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(descriptor)
