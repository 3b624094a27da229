"""Terminal output: escape unprintable names, and keep off it what libraries print."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
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


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop other libraries' warnings, their log lines below an error, and all output on stdout.

    torch notes that there is no CUDA, NNCF draws bars, exporters warn of their own deprecations.
    Errors are still raised, and the project's own lines go to stderr. With `python -W` or
    PYTHONWARNINGS nothing is dropped. torch reads the variable when it is imported.
    """
    if sys.warnoptions:
        yield
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", module=r"(?!orthoedge\.)")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)
