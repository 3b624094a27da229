"""The application: leads each request through the guard to its handler, and errors back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orthoedge.clinic.log import kind_and_place
from orthoedge.clinic.server.api.answers import ErrorShown
from orthoedge.clinic.server.api.calls import JSON, Call, Caller, Reply, Route
from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.api.keeping import delete_old
from orthoedge.clinic.server.api.routes import ROUTES
from orthoedge.clinic.server.api.session import COOKIE
from orthoedge.clinic.server.guard import check_origin, with_headers
from orthoedge.clinic.server.state import ServerState
from orthoedge.clinic.server.streams import add_finding, drop_content, read_content
from orthoedge.runtime.errors import EngineError, OrthoEdgeError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["PAGE", "end_uploads", "make_app"]

PAGE = Path(__file__).parents[1] / "page"
"""The page's own files."""
_API = "/api/v1"
_LARGEST = 2**16  # bytes of a request of JSON
_HOUR_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # also by a quota, or a limit of the file system
_THREADS = 24


def make_app(state: ServerState) -> Starlette:
    """Make the ASGI application."""
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.routing import Route as HttpRoute
    from starlette.staticfiles import StaticFiles

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # A request that waits for the engine must not keep others from the threads.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "clinic"))
        state.engine.enter_loop()
        tasks = [
            asyncio.create_task(state.events.watch_history()),
            asyncio.create_task(_look_after(state)),
        ]
        try:
            yield
        finally:
            for task in (*tasks, *state.tasks):
                task.cancel()
            await state.engine.close()

    routes: list[Any] = [
        HttpRoute(_API + route.path, _endpoint(state, route), methods=[route.method])
        for route in ROUTES
    ]
    if PAGE.is_dir():
        routes.append(Mount("/", StaticFiles(directory=PAGE, html=True)))

    async def not_found(_: Request, __: Exception) -> Response:
        return _response(_error_reply(ApiError("error.not_found")))

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: not_found})
    app.add_middleware(_guard(state))
    return app


def _guard(state: ServerState) -> Any:
    """The middleware that every request passes, static files too."""
    from starlette.datastructures import Headers

    class Guard:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self._app(scope, receive, send)
                return
            headers = Headers(scope=scope)
            try:
                check_origin(
                    state.settings,
                    scope["method"],
                    scope["path"].startswith("/api/"),
                    lambda name: headers.get(name, ""),
                )
            except ApiError as error:
                await _response(_error_reply(error))(scope, receive, with_headers(send))
                return
            await self._app(scope, receive, with_headers(send))

    return Guard


def _endpoint(state: ServerState, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        from starlette.requests import ClientDisconnect

        try:
            caller = _caller(state, request, route)
            _check_allowed(state, request, route, caller)
            if route.name == "listen":
                return _event_response(state, caller)
            if route.name == "showSession" and caller.role and caller.is_page:
                warming = asyncio.create_task(_warm_up(state))  # while the user chooses a file
                state.tasks.add(warming)
                warming.add_done_callback(state.tasks.discard)
            parameters = dict(request.query_params)
            call = Call(caller, request.path_params, parameters, b"")
            if route.handler is None:
                with _ended_with_server(state):
                    return _response(await add_finding(state, call, request))
            if route.method == "POST":
                content = await read_content(request, _LARGEST, state.settings.upload.stall_s)
                call = Call(caller, request.path_params, parameters, content)
            return _response(await asyncio.to_thread(route.handler, state, call))
        except ClientDisconnect:
            return _response(_error_reply(ApiError("error.too_slow")))
        except Exception as error:
            known = _known(state, error)
            if known.id == "error.too_large":  # else the caller is cut off before it has the reply
                await drop_content(request)
            return _response(_error_reply(known))

    return endpoint


@contextlib.contextmanager
def _ended_with_server(state: ServerState) -> Iterator[None]:
    """Let `end_uploads` cancel what runs inside.

    Raises:
        ApiError: it has.
    """
    task = asyncio.current_task()
    assert task is not None
    state.uploads.add(task)
    try:
        yield
    except asyncio.CancelledError as error:
        if not state.events.has_ended:
            raise
        raise ApiError("error.ending") from error
    finally:
        state.uploads.discard(task)


def end_uploads(state: ServerState) -> None:
    """Give up each file that is still on its way, or being answered; its sender is told."""
    for task in state.uploads:
        task.cancel()


async def _warm_up(state: ServerState) -> None:
    try:
        await state.engine.open()
    except EngineError as error:
        state.log("the engine cannot be opened", reason=str(error))


async def _look_after(state: ServerState) -> None:
    """Delete what is too old, and pixels that a kill left over, at the start and every hour."""
    while True:
        try:
            await asyncio.to_thread(delete_old, state)
            await asyncio.to_thread(state.history.remove_unnamed)
        except (OSError, OrthoEdgeError) as error:
            state.log("cannot delete what is too old", reason=str(error))
        await asyncio.sleep(_HOUR_S)


def _caller(state: ServerState, request: Request, route: Route) -> Caller:
    """Who asks, by the session's cookie."""
    token = ""
    with contextlib.suppress(CookieError):
        cookies = SimpleCookie(request.headers.get("cookie", ""))
        token = cookies[COOKIE].value if COOKIE in cookies else ""
    address = request.client.host if request.client else ""
    is_page = bool(request.headers.get("sec-fetch-site") or request.headers.get("origin"))
    asks = partial(
        Caller,
        address=address,
        is_page=is_page,
        takes_gzip="gzip" in request.headers.get("accept-encoding", ""),
    )
    if not state.needs_accounts:
        return asks("", "administrator", token="")
    session = state.sessions.get(token, by_user=route.by_user) if token else None
    account = state.accounts.get(session.user) if session else None
    if session is None or account is None or account.role != session.role:
        return asks("", "", token=token)
    return asks(session.user, session.role, token=token)


def _check_allowed(state: ServerState, request: Request, route: Route, caller: Caller) -> None:
    """Check the role, and the token of a changing request.

    Raises:
        ApiError: not allowed.
    """
    if route.roles and not caller.role:
        raise ApiError("error.login_needed")
    if route.roles and caller.role not in route.roles:
        raise ApiError("error.not_allowed")
    if route.method == "GET" or not route.roles:
        return
    session = state.sessions.get(caller.token) if caller.token else None
    expected = session.csrf if session else state.local_csrf
    # Without accounts another program needs no token: only a browser can be made to send a request.
    if (session or caller.is_page) and not hmac.compare_digest(
        request.headers.get("x-csrf-token", "").encode(), expected.encode()
    ):
        raise ApiError("error.csrf")


def _event_response(state: ServerState, caller: Caller) -> Response:
    from starlette.responses import StreamingResponse

    async def events() -> AsyncIterator[bytes]:
        async for line in state.events.listen():
            if caller.token and state.sessions.get(caller.token, by_user=False) is None:
                return
            yield line

    return StreamingResponse(events(), media_type="text/event-stream")


def _known(state: ServerState, error: Exception) -> ApiError:
    """The error for the caller; what may hold a value of an image goes nowhere."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        state.log("disk full", reason=error.strerror or "")
        return ApiError("error.disk_full")
    known = isinstance(error, OrthoEdgeError | OSError)
    state.log("request failed", reason=str(error) if known else kind_and_place(error))
    return ApiError("error.failed")


def _error_reply(error: ApiError) -> Reply:
    # What is left of the request would be read for as long as it comes.
    headers = {"Connection": "close"}
    if error.wait_s:
        headers["Retry-After"] = str(int(error.wait_s) + 1)
    content = msgspec.json.encode(ErrorShown(error.sentence, error.id))
    return Reply(content, JSON, error.status, headers)


def _response(reply: Reply) -> Response:
    from starlette.responses import Response, StreamingResponse

    kind, headers = reply.kind, dict(reply.headers)
    if isinstance(reply.content, bytes):
        return Response(reply.content, reply.status, headers, kind)
    return StreamingResponse(reply.content, reply.status, headers, kind)
