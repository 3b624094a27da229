"""Log of the node: one JSON object a line on stderr, without patient data.

Lines name objects by SOP Instance UID and peers by AE title and address; they never hold a value
of another element of an image.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path

import msgspec

__all__ = ["Log", "kind_and_place"]


def kind_and_place(error: BaseException) -> str:
    """Describe a defect without its text, which may hold a value of an image."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = (f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} in {', '.join(places)}"


class Log:
    """Writes lines for one process of the node; threads may share it.

    Args:
        process: `node`, `receiver`, `worker` or `sender`.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._lock = threading.Lock()

    def __call__(self, event: str, **facts: str | float) -> None:
        """Write one line.

        Args:
            event: what happened, in a few words that do not vary.
            **facts: what varies.
        """
        now = time.time()
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = {"time": f"{clock}.{int(now % 1 * 1000):03}Z", "process": self._process}
        data = msgspec.json.encode(line | {"event": event} | facts) + b"\n"
        try:
            with self._lock:
                os.write(sys.stderr.fileno(), data)
        except (OSError, ValueError):  # a full disk or a closed pipe must not stop the node
            return
