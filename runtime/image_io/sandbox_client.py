"""The parent's side of the sandbox: requests to a subprocess and its responses.

A response is checked like any input: bytes of a stated length, never pickle.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import time
import weakref

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import EngineError, InputError, MissingDependency
from orthoedge.runtime.image_io.radiograph import MAX_PIXELS, Plane, Radiograph, ReasonId
from orthoedge.runtime.settings import plain
from orthoedge.runtime.subprocesses import code_command

FRAME = struct.Struct(">Q")
"""Length of the message that follows."""

_START_S = 60  # for a cold disk and a slow processor
_END_S = 5  # a core file may be written first
_LARGEST_RESPONSE = 2**20
_WORKER = "orthoedge.runtime.image_io.sandbox_worker"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file to read; where `path` is empty the bytes of the file follow."""

    path: bytes
    size: int
    time_s: float
    memory_mb: float


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A radiograph or an error; where `error` is empty height × width bytes of pixels follow."""

    error: str = ""
    missing: tuple[str, ...] = ()
    """Arguments of `MissingDependency`."""
    height: int = 0
    width: int = 0
    source_bits: int = 0
    spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    spacing_plane: Plane | None = None
    refer_reasons: tuple[str, ...] = ()
    refer_reason_ids: tuple[ReasonId, ...] = ()


class SandboxProcess:
    """One subprocess with its three pipes.

    Raises:
        EngineError: it does not start.
    """

    idle = True
    """Whether it has completed every request and can take another."""
    abandoned = False
    """Whether it belongs to the parent of this process, which was forked."""

    def __init__(self) -> None:
        try:
            self._stderr, stderr = os.pipe()
        except OSError as error:
            raise EngineError(_not_started(error)) from error
        for end in (self._stderr, stderr):
            os.set_blocking(end, False)  # output that does not fit is lost; no process waits
        command = code_command(f"from {_WORKER} import serve; serve()")
        pipe = subprocess.PIPE
        try:
            # A session of its own: Ctrl-C reaches the parent only, which ends this process.
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True, bufsize=0
            )
        except OSError as error:
            os.close(self._stderr)
            raise EngineError(_not_started(error)) from error
        finally:
            os.close(stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _started.add(self)
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        try:
            self._receive(np.empty(1, np.uint8), time.monotonic() + _START_S)
        except (OSError, EOFError) as error:
            lines = self._read_stderr().decode(errors="replace").strip().splitlines()
            self.kill()
            reason = lines[-1] if lines else f"no response in {_START_S} s"
            raise EngineError(_not_started(reason)) from error

    def read(self, request: Request, content: bytes) -> Radiograph:
        """Read one file; raises as `SandboxedReader`."""
        end = time.monotonic() + request.time_s
        self.idle = False
        try:
            encoded = msgspec.msgpack.encode(request)
            self._send(FRAME.pack(len(encoded)) + encoded, end)
            self._send(content, end)
            return self._response(end)
        except TimeoutError as error:
            reason = f"reading it took longer than {plain(request.time_s)} s and was given up"
            raise InputError(reason) from error
        except (EOFError, BrokenPipeError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            self._process.kill()  # no effect if it has ended
            code = self._process.wait()
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            hint = {"SIGKILL": ", perhaps for memory", "SIGXCPU": ", out of time"}.get(name, "")
            raise InputError(f"its decoder crashed: the process ended by {name}{hint}") from error
        finally:
            if output := self._read_stderr():
                with contextlib.suppress(OSError):  # stderr is closed
                    os.write(2, output)

    def _response(self, end: float) -> Radiograph:
        (size,) = FRAME.unpack(self._receive(np.empty(FRAME.size, np.uint8), end).tobytes())
        if size > _LARGEST_RESPONSE:
            raise EngineError("the sandbox process sent an invalid response")
        encoded = self._receive(np.empty(size, np.uint8), end).tobytes()
        try:
            response = msgspec.msgpack.decode(encoded, type=Response)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineError("the sandbox process sent an invalid response") from error
        self.idle = bool(response.missing or response.error)
        if len(response.missing) == 3:
            raise MissingDependency(*response.missing)
        if response.error:
            raise InputError(response.error)
        height, width = response.height, response.width
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise EngineError("the sandbox process sent an invalid response")
        pixels = self._receive(np.empty(height * width, np.uint8), end).reshape(height, width)
        self.idle = True
        return Radiograph(
            pixels,
            response.source_bits,
            response.spacing_mm,
            response.notes,
            response.spacing_plane,
            response.refer_reasons,
            response.refer_reason_ids,
        )

    def _send(self, data: bytes, end: float) -> None:
        view = memoryview(data)
        while view:
            _wait(self._to, select.POLLOUT, end)
            view = view[os.write(self._to, view) :]

    def _receive(self, into: npt.NDArray[np.uint8], end: float) -> npt.NDArray[np.uint8]:
        view = into.data
        while view:
            _wait(self._from, select.POLLIN, end)
            count = os.readv(self._from, [view])
            if not count:
                raise EOFError
            view = view[count:]
        return into

    def _read_stderr(self) -> bytes:
        try:
            return os.read(self._stderr, 2**16)
        except OSError:
            return b""

    def abandon(self) -> None:
        """Close this process's copies of the pipes, which its parent uses; after a fork."""
        self.idle, self.abandoned = False, True
        _started.discard(self)  # a child of this process has other files under their numbers
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        os.close(self._stderr)
        self._process.returncode = 0  # it is no child of this process, and nothing to wait for

    def kill(self) -> None:
        """End the process and close its pipes; if it is the parent's, do nothing."""
        if self.abandoned:
            return
        _started.discard(self)
        self._process.kill()
        self._process.communicate()
        os.close(self._stderr)


def _not_started(reason: object) -> str:
    return f"the sandbox process does not start: {getattr(reason, 'strerror', None) or reason}"


_started: weakref.WeakSet[SandboxProcess] = weakref.WeakSet()


def _abandon_all() -> None:
    for process in list(_started):
        process.abandon()


os.register_at_fork(after_in_child=_abandon_all)


def _wait(descriptor: int, event: int, end: float) -> None:
    """Wait until the pipe is ready or its other end is closed; raises TimeoutError after `end`."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, end - time.monotonic()) * 1e3):
        raise TimeoutError
