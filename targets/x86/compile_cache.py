"""Read and write files of the compile cache; a damaged or swapped file is never used.

OpenVINO itself loads a cached model with a flipped byte without an error, so each file carries a
hash of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic

_SIZE = hashlib.sha256().digest_size


def store(file: Path, content: bytes) -> None:
    """Write a file for `load`, atomically.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(file, _digest(file, content) + content)


def load(file: Path) -> tuple[bytes | None, str]:
    """Read what `store` wrote.

    Returns:
        The content, or None and why the file cannot be used; the reason is empty if there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None, ""
    content = data[_SIZE:]
    if not content or _digest(file, content) != data[:_SIZE]:
        return None, f"{file.name} was damaged or another file's"
    return content, ""


def _digest(file: Path, content: bytes) -> bytes:
    """SHA-256 of name and content: the name identifies the source, and files can be swapped."""
    return hashlib.sha256(file.name.encode() + b"\0" + content).digest()
