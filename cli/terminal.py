"""Terminal output: escape unprintable names."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TextIO


def open_closed_streams() -> None:
    """Open the standard streams that the caller closed, on /dev/null.

    Otherwise a file that is opened next gets their number, and what libraries print goes into it;
    and `print(..., file=sys.stderr)` writes to stdout where `sys.stderr` is None.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = _nothing()
    if sys.stderr is None:
        sys.stderr = _nothing()


def _nothing() -> TextIO:
    return Path(os.devnull).open("w", errors="backslashreplace")


def write_error(text: str) -> None:
    """Write to stderr; on a full disk or without a reader the text is lost, and nothing else is."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = _nothing()  # the interpreter would try again at its end


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
