"""Terminal output: escape unprintable names, and keep off it what libraries print."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


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
