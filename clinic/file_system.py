"""A folder that processes share: which file system holds it, and who works on it alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, DataError

__all__ = ["NETWORK_FILE_SYSTEMS", "check_folder", "file_system", "only_one"]

NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_LONGEST_NOTE = 1000


def file_system(folder: Path) -> str:
    """Name of the file system that holds a folder, as Linux calls it; empty where unknown."""
    try:
        mounts = Path("/proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real = folder.resolve()
    inside = [line.split() for line in mounts if len(line.split()) > 2]
    holding = [
        (len(place), number, kind)
        for number, (_, place, kind, *_) in enumerate(inside)
        if real.is_relative_to(place.replace("\\040", " "))
    ]
    return max(holding)[2] if holding else ""


def check_folder(folder: Path) -> None:
    """Check that a folder is on a local disk and can be written; make it if it is missing.

    Raises:
        ConfigError: it is on a network file system.
        OSError: it cannot be made or written.
    """
    kind = file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"{folder} lies on {kind}, a network file system; choose a folder on a local disk"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = folder / "check"
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)  # another process may check at the same time


@contextmanager
def only_one(lock: Path, what: str, remedy: str) -> Iterator[Callable[[str], None]]:
    """Let one process at a time do something.

    The lock is the system's and not the file itself, so that a killed process leaves none behind.

    Args:
        lock: file that is locked; made if it is missing, and left there.
        what: says that another one does it, for the error.
        remedy: what to do then.

    Yields:
        Writes down who holds the lock, for the error of the next one: such as an address.

    Raises:
        DataError: another process does it.
        OSError: the file cannot be made, or its file system has no locks.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)

    def describe(holder: str) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}{holder}".encode(), 0)

    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _LONGEST_NOTE, 0).decode(errors="replace")
            who = f" ({holder})" if holder.isprintable() and holder else ""
            raise DataError(f"{what}{who}; {remedy}") from error
        describe("")
        yield describe
    finally:
        os.close(descriptor)
