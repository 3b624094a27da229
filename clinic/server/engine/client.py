"""The server's side of the engine's process: starts it when it is needed, again after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from orthoedge.clinic.server.engine.messages import (
    FRAME,
    LARGEST,
    EngineAnswer,
    EngineRequest,
    EngineStart,
    encode,
)
from orthoedge.clinic.settings import EngineSettings
from orthoedge.runtime.errors import EngineError, InputError
from orthoedge.runtime.settings import plain
from orthoedge.runtime.subprocesses import module_command

__all__ = ["Engine", "EngineState"]

EngineState = Literal["absent", "starting", "ready"]

_Message = TypeVar("_Message", EngineStart, EngineAnswer)
_START_S = 120.0  # a cold disk, a slow processor, a plan that is built
_MODULE = "orthoedge.clinic.server.engine.process"


class Engine:
    """Answers files one after another in a process of its own.

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
        self._turn = asyncio.Lock()

    async def answer(self, file: Path) -> EngineAnswer:
        """Answer one file.

        Raises:
            EngineError: the engine cannot be opened, or failed; not the file's fault.
            InputError: the process crashed, or took too long, while it read the file.
        """
        async with self._turn:
            process = await self._started()
            try:
                answer = await asyncio.wait_for(
                    _ask(process, EngineRequest(str(file))), self._limit_s
                )
            except asyncio.TimeoutError as error:
                await self._end()
                reason = f"reading it took longer than {plain(self._limit_s)} s and was given up"
                raise InputError(reason) from error
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise InputError(
                    f"its decoder crashed: the process ended by {await self._end()}"
                ) from error
            except BaseException:  # the caller was cancelled: the next answer is not that of its
                await self._end()
                raise
            if answer.engine_error:  # a new process may work again
                await self._end()
                raise EngineError(answer.engine_error)
            return answer

    async def start(self) -> None:
        """Start the process now, so that the first file need not wait for it.

        Raises:
            EngineError: as `answer`.
        """
        async with self._turn:
            await self._started()

    async def close(self) -> None:
        """End the process."""
        await self._end()

    @property
    def process_id(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process else None

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        self._changed("starting")
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, limit=LARGEST, start_new_session=True
            )
            start = await asyncio.wait_for(_receive(self._process, EngineStart), _START_S)
        except OSError as error:
            await self._end()
            raise EngineError(f"the engine does not start: {error.strerror or error}") from error
        except asyncio.TimeoutError as error:
            await self._end()
            raise EngineError(f"the engine did not start in {plain(_START_S)} s") from error
        except asyncio.IncompleteReadError as error:
            how = await self._end()
            raise EngineError(f"the engine does not start: its process ended by {how}") from error
        if start.error:
            await self._end()
            raise EngineError(start.error)
        self._changed("ready")
        return self._process

    async def _end(self) -> str:
        """End the process if there is one; return how it ended."""
        process, self._process = self._process, None
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


async def _ask(process: asyncio.subprocess.Process, request: EngineRequest) -> EngineAnswer:
    assert process.stdin is not None
    process.stdin.write(encode(request))
    await process.stdin.drain()
    return await _receive(process, EngineAnswer)


async def _receive(process: asyncio.subprocess.Process, kind: type[_Message]) -> _Message:
    assert process.stdout is not None
    (size,) = FRAME.unpack(await process.stdout.readexactly(FRAME.size))
    if size > LARGEST:
        raise EngineError("the engine's process sent an invalid message")
    try:
        return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError("the engine's process sent an invalid message") from error
