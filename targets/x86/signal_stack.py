"""The thread's alternate signal stack, kept as it was while OpenVINO opens a model.

OpenVINO gives the thread that opens a model a signal stack, and puts back the one before when the
model goes. Where two models overlap and the older goes first, the stack that comes back with the
younger is freed memory, and the next signal, Ctrl-C among them, ends the process (seen with 2026.4
on Linux). What was there before is put back at once here, so every model puts back the same.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put the calling thread's back at the end, whatever was set meanwhile."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
