"""Restore the thread's alternate signal stack after OpenVINO opens a model.

OpenVINO sets a signal stack for the thread that opens a model, and restores the previous one when
the model is freed. If two models overlap and the older is freed first, freeing the younger restores
a stack in freed memory, and the next signal, such as Ctrl-C, ends the process by SIGSEGV (seen with
2026.4 on Linux). Restoring the original stack as soon as a model is open prevents that.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (("memory", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Restore the calling thread's signal stack at the end."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
