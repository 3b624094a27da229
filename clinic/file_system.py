"""A folder that processes share: which file system holds it, and who works on it alone."""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, DataError

__all__ = [
    "check_folder",
    "check_local",
    "check_owner",
    "file_system",
    "is_network",
    "only_one",
    "user_name",
]

_NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf"),
    }
)
"""Of another machine, or shared with one, by their names in /proc/mounts."""
_LOCAL_FUSE = frozenset({"fuse.gocryptfs", "fuse.mergerfs", "fuse.ntfs-3g"})
"""Others of FUSE, such as `fuse.sshfs`, mostly are the storage of another machine."""
_LONGEST_NOTE = 1000


def is_network(kind: str) -> bool:
    """Return whether a kind of file system, as `file_system` names it, may be of other machines."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def file_system(folder: Path, table: Path = Path("/proc/mounts")) -> str:
    """Name of the file system that holds a folder, as Linux calls it; empty where unknown.

    Args:
        folder: may be missing yet.
        table: of what is mounted.
    """
    try:
        mounts = table.read_text(errors="replace").splitlines()
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


def check_local(what: str, folder: Path) -> None:
    """Check that a folder is on a local disk: SQLite's write-ahead log does not work elsewhere.

    Args:
        what: the error calls it.
        folder: may be missing yet.

    Raises:
        ConfigError: it is on a network file system.
    """
    kind = file_system(folder)
    if is_network(kind):
        raise ConfigError(
            f"{what}, {folder}, lies on {kind}, a network file system, where its database can lose "
            "what it has written; choose a folder on a local disk"
        )


def check_folder(what: str, folder: Path) -> None:
    """Check that a folder is on a local disk and can be written; make it if it is missing.

    Raises:
        ConfigError: it is on a network file system.
        OSError: it cannot be made or written.
    """
    check_local(what, folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = folder / "check"
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)  # another process may check at the same time


def user_name(number: int) -> str:
    """Name of a user of the system, or `#` and the number of one that it does not know."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def check_owner(folder: Path) -> None:
    """Check that root does not write into the folder of another user, who could not read it.

    Args:
        folder: may be missing yet.

    Raises:
        ConfigError: it is of another user, and this process is root's.
    """
    if os.geteuid() != 0 or not folder.exists() or not (owner := folder.stat().st_uid):
        return
    name = user_name(owner)
    raise ConfigError(
        f"{folder}: belongs to user {name}, who could not read what root writes there; run the "
        f"command as that user: sudo -u '{name}' ..."
    )


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
