"""Suppression of pydicom's warnings and log records, which quote values of the file."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_changing = threading.Lock()
_readers = 0
_undo = ExitStack()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Drop pydicom's warnings and log records until the last concurrent reader is done.

    Warning filters and loggers belong to the whole process. If each thread restored the state it
    saw on entry, a late one would restore the suppression of another.
    """
    global _readers
    with _changing:
        if _readers == 0:
            _undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            logger = logging.getLogger("pydicom")
            logger.addFilter(_drop)
            _undo.callback(logger.removeFilter, _drop)
        _readers += 1
    try:
        yield
    finally:
        with _changing:
            _readers -= 1
            if _readers == 0:
                _undo.close()


def _restart() -> None:
    """Forget the readers of the parent's other threads, which a forked child does not have."""
    global _changing, _readers
    _changing, _readers = threading.Lock(), 0
    _undo.close()


os.register_at_fork(after_in_child=_restart)


def _drop(record: logging.LogRecord) -> bool:
    return False
