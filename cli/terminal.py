"""Terminal output: escape unprintable names, and capture what C libraries print to stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def write_ascii() -> None:
    """Write stdout as ASCII, for JSON with escapes: its encoding may be UTF-16, or have a mark."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="ascii", errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; a closed one, which is None, is not."""
    return stream is not None and stream.isatty()


def printable(text: str) -> str:
    """Escape unprintable characters: a file name can contain a line break or a bad byte."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def hold_stderr() -> Iterator[list[str]]:
    """Capture the process's stderr; the yielded list has its lines once the context ends.

    libpng and libjpeg print there directly, without the name of the file.
    """
    lines: list[str] = []
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to capture
        yield lines
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    source, sink = os.pipe()
    os.set_blocking(sink, False)  # what does not fit into the pipe is lost, and no writer blocks
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
