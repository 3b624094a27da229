"""What reaches a terminal: names that may hold anything, and what C libraries print themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str) -> str:
    """Escape what is no printable character: a file's name can hold a line break or a bad byte."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def hold_stderr() -> Iterator[list[str]]:
    """Keep what is written to the process's stderr meanwhile; its lines are there at the end.

    libpng and libjpeg print there by themselves, with no file's name beside it.
    """
    lines: list[str] = []
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to hold
        yield lines
        return
    sys.stderr.flush()
    source, sink = os.pipe()
    os.set_blocking(sink, False)  # what does not fit into the pipe is lost, and nobody waits
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield lines
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        with os.fdopen(source, "rb") as held:
            text = held.read().decode("utf-8", "replace")
        lines += [line.strip() for line in text.splitlines() if line.strip()]
