"""The server's side of the engine's process: starts it when it is needed, again after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from orthoedge.clinic.server.engine.messages import (
    FRAME,
    LARGEST,
    AnswerFile,
    FileAnswer,
    HalvePixels,
    Made,
    MeasureExtents,
    OpenEngine,
    PutInWords,
    Request,
    Started,
    encode,
)
from orthoedge.clinic.settings import EngineSettings
from orthoedge.runtime.errors import EngineError, InputError
from orthoedge.runtime.settings import plain
from orthoedge.runtime.subprocesses import module_command

__all__ = ["Engine", "EngineState"]

EngineState = Literal["absent", "starting", "ready"]

_Message = TypeVar("_Message", Started, FileAnswer, Made)
_START_S = 120.0  # a cold disk, a slow processor
_OPEN_S = 600.0  # a plan that is built on a board
_MAKE_S = 60.0
_MODULE = "orthoedge.clinic.server.engine.process"


class Engine:
    """Answers requests one after another in a process of its own.

    Args:
        settings: of the engine.
        pixels: folder in which the process keeps the pixels.
        changed: is called with each new state.
    """

    def __init__(
        self, settings: EngineSettings, pixels: Path, changed: Callable[[EngineState], None]
    ) -> None:
        self._command = [
            *module_command(_MODULE),
            msgspec.json.encode(settings).decode(),
            str(pixels),
        ]
        self._limit_s = settings.decode_s + settings.silent_s / 10
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._is_open = False
        self._turn = asyncio.Lock()
        self._files = asyncio.Lock()  # files wait here, so that a word need not wait for all
        self._loop: asyncio.AbstractEventLoop | None = None

    async def answer(self, file: Path) -> FileAnswer:
        """Answer one file.

        Raises:
            EngineError: the engine cannot be opened, or failed; not the file's fault.
            OSError: the disk is full or fails, and the pixels cannot be kept.
            InputError: the process crashed, or took too long, while it read the file.
        """
        async with self._files:
            await self.open()
            answer = await self._reply(AnswerFile(str(file)), FileAnswer, self._limit_s)
        if answer.disk_error:
            reason = f"the radiograph cannot be kept: {os.strerror(answer.disk_error)}"
            raise OSError(answer.disk_error, reason)
        if answer.engine_error:  # a new process may work again
            await self.close()
            raise EngineError(answer.engine_error)
        return answer

    async def open(self) -> None:
        """Open the engine if it is not, so that a file need not wait for it.

        Raises:
            EngineError: it cannot be opened.
        """
        if self._is_open and self._process is not None and self._process.returncode is None:
            return
        self._changed("starting")
        try:
            made = await self._reply(OpenEngine(), Made, _OPEN_S)
        except InputError as error:
            raise EngineError("the engine's process ends when it opens the engine") from error
        if made.error:
            await self.close()
            raise EngineError(made.error)
        self._is_open = True
        self._changed("ready")

    def make(self, request: PutInWords | HalvePixels | MeasureExtents) -> bytes:
        """Make something; called from a thread other than that of the server's event loop.

        Raises:
            EngineError: it cannot be made.
        """
        assert self._loop is not None
        made = asyncio.run_coroutine_threadsafe(self._reply(request, Made, _MAKE_S), self._loop)
        try:
            reply = made.result()
        except InputError as error:
            raise EngineError(str(error)) from error
        if reply.error:
            raise EngineError(reply.error)
        return reply.content

    def enter_loop(self) -> None:
        """Note the event loop that runs now, for `make`."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    @property
    def process_id(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process else None

    async def _reply(self, request: Request, kind: type[_Message], limit_s: float) -> _Message:
        """Send a request and wait for the reply.

        Raises:
            EngineError: the process does not start, or sends no such reply.
            InputError: it ended, or took too long.
        """
        async with self._turn:
            process = await self._started()
            try:
                return await asyncio.wait_for(_ask(process, request, kind), limit_s)
            except asyncio.TimeoutError as error:
                await self._end()
                reason = f"reading it took longer than {plain(limit_s)} s and was given up"
                raise InputError(reason) from error
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                how = await self._end()
                raise InputError(f"its decoder crashed: the process ended by {how}") from error
            except BaseException:  # cancelled: the next reply would be to this request
                await self._end()
                raise

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, limit=LARGEST, start_new_session=True
            )
            await asyncio.wait_for(_receive(self._process, Started), _START_S)
        except OSError as error:
            await self._end()
            raise EngineError(f"the engine does not start: {error.strerror or error}") from error
        except asyncio.TimeoutError as error:
            await self._end()
            raise EngineError(f"the engine did not start in {plain(_START_S)} s") from error
        except asyncio.IncompleteReadError as error:
            how = await self._end()
            raise EngineError(f"the engine does not start: its process ended by {how}") from error
        return self._process

    async def _end(self) -> str:
        """End the process if there is one; return how it ended."""
        process, self._process, self._is_open = self._process, None, False
        if process is None:
            return "nothing"
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):  # of a process that crashed just now
            await asyncio.wait_for(process.wait(), 1)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
        self._changed("absent")
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


async def _ask(
    process: asyncio.subprocess.Process, request: Request, kind: type[_Message]
) -> _Message:
    assert process.stdin is not None
    process.stdin.write(encode(request))
    await process.stdin.drain()
    return await _receive(process, kind)


async def _receive(process: asyncio.subprocess.Process, kind: type[_Message]) -> _Message:
    assert process.stdout is not None
    (size,) = FRAME.unpack(await process.stdout.readexactly(FRAME.size))
    if size > LARGEST:
        raise EngineError("the engine's process sent an invalid message")
    try:
        return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError("the engine's process sent an invalid message") from error
