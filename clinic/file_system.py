"""Which kind of file system holds a folder: some can hold no spool, and tell of no changes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NETWORK_FILE_SYSTEMS", "file_system"]

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
