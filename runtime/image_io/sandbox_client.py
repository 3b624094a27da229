"""A process that reads files, as its parent sees it.

What it sends is checked as any input is: bytes of a stated length, nothing that is executed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import time

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import EngineError, InputError, MissingDependency
from orthoedge.runtime.image_io.radiograph import MAX_PIXELS, Radiograph
from orthoedge.runtime.subprocesses import code_command

FRAME = struct.Struct(">Q")
"""Length of the message that follows."""

_START_S = 60  # a cold disk and a slow processor; no file has been read by then
_END_S = 5  # a core may be written first
_LARGEST_ANSWER = 2**20
_CHILD = "orthoedge.runtime.image_io.sandbox_worker"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the child is asked; where `path` is empty the bytes of the file follow."""

    path: bytes
    size: int
    time_s: float
    memory_mb: float


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the child says; where `error` is empty height × width bytes of pixels follow."""

    error: str = ""
    missing: tuple[str, ...] = ()
    """Arguments of `MissingDependency`."""
    height: int = 0
    width: int = 0
    source_bits: int = 0
    spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


class _Late(Exception):
    pass


class SandboxProcess:
    """One process, and its three pipes.

    Raises:
        EngineError: it does not start.
    """

    idle = True
    """Whether it has answered all that it was asked, and can be asked again."""

    def __init__(self) -> None:
        self._printed, stderr = os.pipe()
        for end in (self._printed, stderr):
            os.set_blocking(end, False)  # what does not fit is lost, and nobody waits
        command = code_command(f"from {_CHILD} import serve; serve()")
        pipe = subprocess.PIPE
        try:
            # A session of its own: Ctrl-C is for the parent, which ends this one.
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True, bufsize=0
            )
        finally:
            os.close(stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        try:
            self._receive(np.empty(1, np.uint8), time.monotonic() + _START_S)
        except (_Late, OSError, EOFError) as error:
            said = self._said().decode(errors="replace").strip().splitlines()
            self.end()
            reason = said[-1] if said else f"no answer in {_START_S} s"
            raise EngineError(f"the process that reads files does not start: {reason}") from error

    def ask(self, request: Request, content: bytes) -> Radiograph:
        """The radiograph, or the error that `IsolatedReader` promises."""
        end = time.monotonic() + request.time_s
        self.idle = False
        try:
            encoded = msgspec.msgpack.encode(request)
            self._send(FRAME.pack(len(encoded)) + encoded, end)
            self._send(content, end)
            return self._answer(end)
        except _Late as error:
            reason = f"reading it took longer than {request.time_s:g} s and was given up"
            raise InputError(reason) from error
        except (EOFError, BrokenPipeError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            self._process.kill()  # nothing happens where it has ended
            code = self._process.wait()
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            hint = {"SIGKILL": ", perhaps for memory", "SIGXCPU": ", out of time"}.get(name, "")
            raise InputError(f"its decoder crashed: the process ended by {name}{hint}") from error
        finally:
            if printed := self._said():
                with contextlib.suppress(OSError):  # stderr is closed: nobody listens
                    os.write(2, printed)

    def _answer(self, end: float) -> Radiograph:
        (size,) = FRAME.unpack(self._receive(np.empty(FRAME.size, np.uint8), end).tobytes())
        if size > _LARGEST_ANSWER:
            raise EngineError("the process that reads files sent no valid answer")
        encoded = self._receive(np.empty(size, np.uint8), end).tobytes()
        try:
            answer = msgspec.msgpack.decode(encoded, type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineError("the process that reads files sent no valid answer") from error
        self.idle = bool(answer.missing or answer.error)
        if len(answer.missing) == 3:
            raise MissingDependency(*answer.missing)
        if answer.error:
            raise InputError(answer.error)
        height, width = answer.height, answer.width
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise EngineError("the process that reads files sent no valid answer")
        pixels = self._receive(np.empty(height * width, np.uint8), end).reshape(height, width)
        self.idle = True
        return Radiograph(pixels, answer.source_bits, answer.spacing_mm, answer.notes)

    def _send(self, data: bytes, end: float) -> None:
        view = memoryview(data)
        while view:
            _wait(self._to, select.POLLOUT, end)
            view = view[os.write(self._to, view) :]

    def _receive(self, into: npt.NDArray[np.uint8], end: float) -> npt.NDArray[np.uint8]:
        view = into.data
        while view:
            _wait(self._from, select.POLLIN, end)
            got = os.readv(self._from, [view])
            if not got:
                raise EOFError
            view = view[got:]
        return into

    def _said(self) -> bytes:
        try:
            return os.read(self._printed, 2**16)
        except (BlockingIOError, OSError):
            return b""

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()
        os.close(self._printed)


def _wait(descriptor: int, event: int, end: float) -> None:
    """Until the pipe is ready, or has no other end."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, end - time.monotonic()) * 1e3):
        raise _Late
