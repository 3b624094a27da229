"""Decoding with what the decoder complains about as part of the result.

libjpeg and libpng go on after an error in the pixels: they print a line to stderr, fill the rest
with grey, and report success. That line is the only sign of the damage. A decoder therefore runs in
a thread with a stderr of its own. On Linux a thread can have a table of file descriptors of its
own, so neither other threads nor processes that they start are affected, and each line belongs to
one file. Elsewhere, or where a container forbids it, one decoder runs at a time and the stderr of
the process is redirected meanwhile; what other threads print then is passed on afterwards, but for
a line that is being written at the moment of change. So it is too in a process whose only Python
thread decodes: nothing of Python's can print meanwhile, and waking another thread on an idle core
can cost a third of the decoding.

A file object in a reference cycle that the garbage collector happens to close in such a thread is
not closed for the process.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from orthoedge.runtime.errors import InputError

T = TypeVar("T")

# Lines that say nothing of the pixels: the log of OpenCV, which depends on its settings and repeats
# what it returns; a version of JFIF; parameters that a sequential decoder ignores; a colour
# profile. Any other line refuses the file.
_HARMLESS = (
    r"\[ ?(?:FATAL|ERROR|WARN|INFO|DEBUG|VERB):"
    r"|Warning: unknown JFIF revision number"
    r"|Invalid SOS parameters for sequential JPEG"
    r"|Corrupt JPEG data: bad ICC marker"
)
_LONGEST = 2**16  # bytes of messages that are looked at
_MOST_IDLE = os.cpu_count() or 1  # threads that wait for the next file
_CLOSE_RANGE, _CLOSE_RANGE_UNSHARE = 436, 2  # linux/close_range.h; one number on all processors
_CLONE_FILES = 0x400  # sched.h


def decode_checked(kind: str, decode: Callable[[], T]) -> T:
    """Call a decoder, and refuse the file if the decoder prints a complaint about it.

    Args:
        kind: of the file, for the message.
        decode: runs in another thread; what it raises is raised here.

    Raises:
        InputError: the decoder printed a line that is not known to be harmless.
    """
    result, text = _run(decode)
    if not text:
        return result
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
    complaints = [line for line in lines if line and not re.match(_HARMLESS, line)]
    if complaints:
        first = "".join(c if c.isprintable() else "?" for c in complaints[0])[:120]
        raise InputError(f"damaged {kind}: its decoder reports '{first}'")
    return result


def decode_quietly(decode: Callable[[], T]) -> T:
    """Call a decoder that returns its errors, and drop what it prints; as `decode_checked`."""
    return _run(decode)[0]


class _Thread(Generic[T]):
    """A thread whose stderr is a file of its own, and which calls one function after another.

    Raises:
        OSError: the system does not allow it.
        RuntimeError: no thread can be started.
    """

    idle = True
    """Whether it has completed every call."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], T] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[T | None, BaseException | None, bytes]] = SimpleQueue()
        threading.Thread(target=self._serve, name="orthoedge-decoder", daemon=True).start()
        _, error, _ = self._results.get()
        if error is not None:
            raise error

    def run(self, function: Callable[[], T]) -> tuple[T, bytes]:
        """Return the function's result and what it printed; raises what it raises."""
        self.idle = False
        self._calls.put(function)
        result, error, text = self._results.get()
        self.idle = True
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        return result, text  # type: ignore[return-value]

    def end(self) -> None:
        """End the thread once it has returned from the current call."""
        self._calls.put(None)

    def _serve(self) -> None:
        try:
            _own_descriptors()
        except (OSError, AttributeError) as error:
            self._results.put((None, OSError(str(error)), b""))
            return
        self._results.put((None, None, b""))
        while (function := self._calls.get()) is not None:
            result, failure = None, None
            try:
                result = function()
            except BaseException as error:
                failure = error
            del function  # what it holds is released by the caller's thread
            self._results.put((result, failure, _take(2)))
            del result, failure


def _own_descriptors() -> None:
    """Give the calling thread a table of descriptors with nothing but a file of its own.

    Raises:
        OSError: not Linux, or not allowed.
    """
    if sys.platform != "linux":
        raise OSError("threads share their descriptors")
    libc = ctypes.CDLL(None, use_errno=True)
    # The copies are closed: an open copy of a socket or pipe would hide its end from the peer.
    most = ctypes.c_uint(0xFFFFFFFF)
    if libc.syscall(_CLOSE_RANGE, ctypes.c_uint(0), most, _CLOSE_RANGE_UNSHARE):  # Linux 5.9
        if libc.unshare(_CLONE_FILES):
            raise OSError(ctypes.get_errno(), "a thread cannot have descriptors of its own")
        for link in list(Path("/proc/thread-self/fd").iterdir()):
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(link.name))
    sink = _open_sink()
    for descriptor in {0, 1, 2} - {sink}:
        os.dup2(sink, descriptor)


def _open_sink() -> int:
    """Open a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("messages")
    import tempfile

    descriptor, path = tempfile.mkstemp()
    Path(path).unlink()
    return descriptor


def _take(descriptor: int) -> bytes:
    """Return what was written to the file, and empty it."""
    size = os.lseek(descriptor, 0, os.SEEK_CUR)
    if not size:
        return b""
    text = os.pread(descriptor, min(size, _LONGEST), 0)
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return text


_idle: deque[_Thread[Any]] = deque()
_process_lock = threading.Lock()


def _run(function: Callable[[], T]) -> tuple[T, bytes]:
    if _is_only_thread():
        return _run_redirected(function)
    try:
        thread: _Thread[T] = _idle.pop()
    except IndexError:
        try:
            thread = _Thread()
        except (OSError, RuntimeError):  # not allowed, or no thread can be started
            return _run_redirected(function)
    context = contextvars.copy_context()  # some settings of numpy and Python are kept there
    try:
        return thread.run(lambda: context.run(function))
    finally:
        # A signal handler may have raised while the thread still decodes.
        if thread.idle and len(_idle) < _MOST_IDLE:
            _idle.append(thread)
        else:
            thread.end()


def _is_only_thread() -> bool:
    return threading.active_count() == 1


def _run_redirected(function: Callable[[], T]) -> tuple[T, bytes]:
    """As `_run`, with the stderr of the process.

    A line is taken for the decoder's if it comes again when the file is decoded again.
    """
    with _process_lock:
        result, text = _redirected(function)
        if not text:
            return result, text
        result, again = _redirected(function)
        lines = text.splitlines(keepends=True) + again.splitlines(keepends=True)
        repeated = set(map(_without_time, text.splitlines()))
        repeated &= set(map(_without_time, again.splitlines()))
        others = [line for line in lines if _without_time(line.rstrip()) not in repeated]
        with contextlib.suppress(OSError):  # stderr is closed
            os.write(2, b"".join(others))
        own = [line for line in text.splitlines() if _without_time(line) in repeated]
        return result, b"\n".join(own)


def _without_time(line: bytes) -> bytes:
    """A line without the seconds and the thread that OpenCV's log begins with."""
    return re.sub(rb"^(\[ ?[A-Z]+):\d+@[0-9.]+\]", rb"\1]", line)


def _redirected(function: Callable[[], T]) -> tuple[T, bytes]:
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed
        saved = -1
    try:
        sink = _open_sink()
    except OSError as error:
        raise InputError.unreadable(error) from error
    try:
        os.dup2(sink, 2)
        result = function()
    finally:
        if saved >= 0:
            os.dup2(saved, 2)
            os.close(saved)
        elif sink != 2:
            os.close(2)
        text = os.pread(sink, os.lseek(sink, 0, os.SEEK_CUR), 0)
        os.close(sink)
    return result, text


def _after_fork() -> None:
    global _process_lock
    _idle.clear()
    _process_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
