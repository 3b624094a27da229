"""Which kind of file system holds a folder, and whether a database can be kept there."""

from __future__ import annotations

from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError

__all__ = ["NETWORK_FILE_SYSTEMS", "check_folder", "file_system"]

NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"}
)


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
