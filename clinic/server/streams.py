"""The two requests that stream: a file that comes in, and the events that go out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.history import NewFinding
from orthoedge.clinic.history.header import plain_text
from orthoedge.clinic.server.api.answers import ErrorShown, UploadQuery
from orthoedge.clinic.server.api.calls import Call, Reply, json_reply
from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.api.findings import added
from orthoedge.clinic.server.engine.messages import FileAnswer
from orthoedge.clinic.server.state import ServerState
from orthoedge.clinic.words.failures import failure_id
from orthoedge.runtime.errors import EngineError, InputError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["add_finding", "drop_content", "read_content"]

_MIB = 2**20
_DROP_S = 3.0


async def add_finding(state: ServerState, call: Call, request: Request) -> Reply:
    """Take in a file, have it answered, and enter the finding.

    Raises:
        ApiError: too large, too slow, too many wait, or the engine cannot run. A file that cannot
            be read is entered with the reason.
        OSError: the disk is full.
    """
    name = _file_name(call.query(UploadQuery).name)
    events, upload = state.events, state.settings.upload
    if events.total - events.done >= upload.max_waiting:
        raise ApiError("error.too_busy", wait_s=10)
    folder = state.history.folder / "incoming"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{os.urandom(8).hex()}.part"
    events.file_came()
    try:
        digest = hashlib.sha256()
        with file.open("xb") as taken:
            size = 0
            async for block in _blocks(state, request):
                size += len(block)
                if size > upload.max_mb * _MIB:
                    raise ApiError("error.too_large")
                digest.update(block)
                taken.write(block)
        answer = await _answer(state, file)
        origin = "page" if call.caller.is_page else "api"
        new = NewFinding(
            origin=origin,  # type: ignore[arg-type]  # one of two
            file_name=name,
            image_sha256=digest.hexdigest(),
            finding=answer.finding,
            failure=answer.failure,
            alert_labels=answer.alert_labels,
            patient=answer.patient,
            study=answer.study,
            spacing_mm=answer.spacing_mm,
            spacing_plane=answer.spacing_plane,
            picture=answer.picture,
        )
        if task := asyncio.current_task():
            state.uploads.discard(task)  # it is added now, and its sender must not hear otherwise
        return await asyncio.to_thread(_enter, state, call, new)
    finally:
        events.file_done()
        file.unlink(missing_ok=True)


async def read_content(request: Request, limit: int, stall_s: float) -> bytes:
    """The body of a small request.

    Raises:
        ApiError: too large or too slow.
    """
    content = b""
    async for block in _timed(request.stream(), stall_s):
        content += block
        if len(content) > limit:
            raise ApiError("error.too_large")
    return content


async def drop_content(request: Request) -> None:
    """Read the rest of a request for a few seconds."""
    end = time.monotonic() + _DROP_S
    with contextlib.suppress(Exception):
        async for _ in _timed(request.stream(), _DROP_S):
            if time.monotonic() > end:
                return


async def _answer(state: ServerState, file: Path) -> FileAnswer:
    try:
        return await state.engine.answer(file)
    except InputError as error:
        return FileAnswer(failure=str(error))
    except EngineError as error:
        raise ApiError("error.engine", str(error)) from error


def _enter(state: ServerState, call: Call, new: NewFinding) -> Reply:
    number = state.history.add(new)
    state.history.note(call.caller.user, "added", number)
    if new.failure:
        error = ErrorShown(new.failure, "error.not_readable", number, failure_id(new.failure))
        return json_reply(error, 422)
    return added(state, number)


async def _blocks(state: ServerState, request: Request) -> AsyncIterator[bytes]:
    """The body of an upload, a block at a time.

    Raises:
        ApiError: it is too large, stalls, or takes too long as a whole.
    """
    upload = state.settings.upload
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > upload.max_mb * _MIB:
        raise ApiError("error.too_large")
    end = time.monotonic() + upload.longest_s
    async for block in _timed(request.stream(), upload.stall_s):
        if time.monotonic() > end:
            raise ApiError("error.too_slow")
        yield block


async def _timed(stream: AsyncIterator[bytes], stall_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), stall_s)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            raise ApiError("error.too_slow") from error


def _file_name(given: str) -> str:
    """The last part of a name, as text; it is never the name of a file here."""
    return plain_text(given.replace("\\", "/").rstrip("/").rpartition("/")[2]) or "?"
