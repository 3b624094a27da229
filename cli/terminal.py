"""Terminal output: escape unprintable names."""

from __future__ import annotations

import io
import sys
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
