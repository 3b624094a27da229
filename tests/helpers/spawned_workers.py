"""The worker processes of a command, found by the session that it leads."""

import contextlib
import os
from pathlib import Path


def workers_of(process):
    """Numbers of the processes that multiprocessing spawned in the session of `process`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = os.getsid(int(path.name)) == process.pid
            if is_ours and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found
