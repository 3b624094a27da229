"""Files of the cache: whole and the one that was written under this name, or not used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from orthoedge.runtime.atomic_files import write_atomic

_SIZE = hashlib.sha256().digest_size


def keep(file: Path, content: bytes) -> None:
    """Write a file that `look` knows again.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(file, _digest(file, content) + content)


def look(file: Path) -> tuple[bytes | None, str]:
    """What `keep` wrote; None where nothing is there, or what is there is not to be used, and why.

    Raises:
        OSError: it cannot be read.
    """
    try:
        kept = file.read_bytes()
    except FileNotFoundError:
        return None, ""
    content = kept[_SIZE:]
    if not content or _digest(file, content) != kept[:_SIZE]:
        return None, f"{file.name} was damaged or another file's, and was made anew"
    return content, ""


def _digest(file: Path, content: bytes) -> bytes:
    """Of name and content: the name says what it was made from, and two files can be swapped."""
    return hashlib.sha256(file.name.encode() + b"\0" + content).digest()
