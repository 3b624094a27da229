"""Terminal output: escape unprintable names."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape unprintable characters: a file name can contain a line break or a bad byte."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
