"""Who listens at a TCP port that is in use, so that an error can name it."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from pathlib import Path

__all__ = ["port_holder", "why_not_listening"]

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_LONGEST = 80  # characters of a command line


def why_not_listening(error: OSError, port: int, remedy: str) -> str:
    """Say why nothing can listen at a port: who has it, and what to change.

    Args:
        error: of `bind` or `listen`.
        port: in question.
        remedy: which option or setting to change if it is in use.
    """
    if error.errno != errno.EADDRINUSE:
        return error.strerror or str(error)
    return f"in use by {port_holder(port)}; {remedy}"


def port_holder(port: int) -> str:
    """Who listens at a TCP port of this machine, as far as this user can see it."""
    inodes, users = _listening(port)
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # another user's, or it has ended
            if inodes & {_inode(link) for link in folder.iterdir()}:
                process = folder.parent
                words = (process / "cmdline").read_bytes().split(b"\0")
                command = " ".join(os.fsdecode(word) for word in words if word)
                return f"process {process.name}: {_shortened(command)}"
    names = sorted(users)
    return f"a process of user {names[0]}" if names else "another process"


def _listening(port: int) -> tuple[set[str], set[str]]:
    """Inodes of the sockets that listen at a port, and names of their users."""
    inodes, users = set(), set()
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:  # no IPv6, or no Linux
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
                with contextlib.suppress(KeyError):
                    users.add(pwd.getpwuid(int(fields[7])).pw_name)
    return inodes, users


def _inode(link: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile
        return str(link.readlink())
    return ""


def _shortened(command: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in command)
    return printable if len(printable) <= _LONGEST else f"{printable[: _LONGEST - 1]}…"
