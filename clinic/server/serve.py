"""Starting the server, and what must be there before it starts."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orthoedge.clinic.accounts import Accounts, Guesses, Sessions
from orthoedge.clinic.file_system import only_one
from orthoedge.clinic.history import History
from orthoedge.clinic.history.history import LOCK
from orthoedge.clinic.log import Log
from orthoedge.clinic.operations.ports import why_not_listening
from orthoedge.clinic.server.app import end_uploads, make_app
from orthoedge.clinic.server.engine.bundle_facts import read_bundle_facts
from orthoedge.clinic.server.engine.client import Engine
from orthoedge.clinic.server.events import Events
from orthoedge.clinic.server.protocol import patient_protocol
from orthoedge.clinic.server.settings import ClinicSettings
from orthoedge.clinic.server.state import ServerState
from orthoedge.clinic.tls_files import load_certificate
from orthoedge.runtime.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

__all__ = ["make_server", "make_state", "serve"]

_GRACE_S = 5  # after which uvicorn cuts off what still runs
_UPLOADS_S = 3.0


def serve(settings: ClinicSettings, ready: Callable[[str], None]) -> int:
    """Run the server until SIGTERM or SIGINT; return 0 after a clean end.

    Args:
        settings: of the server.
        ready: is called with the page's address once it can be opened.

    Raises:
        ConfigError: other machines could reach the server, and there is no account yet; or the
            certificate cannot be used, or the port is taken.
        DataError: the history is damaged, or another server uses it.
        EngineError: the bundle cannot be used.
        OSError: the port may not be used, or the folder cannot.
    """
    folder = settings.history_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    what = f"{folder}: another server, a backup or a restore uses this folder"
    with only_one(folder / LOCK, what, "end it, or give this one another --folder") as describe:
        state = make_state(settings)
        try:
            server, listening = make_server(state)
            scheme = "https" if settings.tls else "http"
            address = f"{scheme}://{_shown_host(settings)}:{listening.getsockname()[1]}/"
            describe(f", {address}")
            told = threading.Thread(
                target=_announce, args=(server, lambda: ready(address)), daemon=True
            )
            told.start()
            with listening, _ended_by_signal(server):
                server.run(sockets=[listening])
        finally:
            state.history.close()
    return 0


def make_server(state: ServerState) -> tuple[uvicorn.Server, socket.socket]:
    """Make a server that does not run yet, and the socket at which it will listen.

    Raises:
        ConfigError, OSError: as `serve`.
    """
    import uvicorn

    settings = state.settings
    if tls := settings.tls:  # whose files are checked here, for the error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificate(context, tls.certificate, tls.key, f"tls {tls.certificate}, {tls.key}")
    config = uvicorn.Config(
        make_app(state),
        http=patient_protocol(settings.upload.stall_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=200,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            state.events.end()  # else a page that listens is waited for, and then cut off
            asyncio.get_running_loop().call_later(_UPLOADS_S, end_uploads, state)
            await super().shutdown(sockets)

    return Server(config), _listen(settings)


def make_state(settings: ClinicSettings) -> ServerState:
    """Open the history and the accounts, and read the bundle.

    Raises:
        ConfigError, DataError, EngineError, OSError: as `serve`.
    """
    accounts = Accounts(settings.history_folder)
    if settings.has_open_address and not accounts.has_administrator():
        raise ConfigError(
            f"host {settings.host}: other machines can reach this address, so it needs accounts: "
            f"orthoedge clinic account add NAME --role administrator --folder {settings.folder}"
        )
    bundle = read_bundle_facts(settings.engine)
    history = History(settings.history_folder)
    try:
        history.check_soundness()
    except BaseException:
        history.close()
        raise
    for stale in (settings.history_folder / "incoming").glob("*.part"):
        stale.unlink(missing_ok=True)
    access, events = settings.access, Events(history)
    pixels = settings.history_folder / "pixels"
    return ServerState(
        settings=settings,
        bundle=bundle,
        history=history,
        accounts=accounts,
        sessions=Sessions(access.idle_minutes * 60, access.longest_hours * 3600),
        guesses=Guesses(),
        events=events,
        engine=Engine(settings.engine, pixels, events.engine_changed),
        log=Log("clinic"),
        local_csrf=secrets.token_urlsafe(32),
    )


@contextmanager
def _ended_by_signal(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server alone: it raises them once more after its end."""

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(settings: ClinicSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        remedy = "give another --port, or `port` in the file of --settings"
        reason = why_not_listening(error, settings.port, remedy)
        raise ConfigError(f"{settings.host}, port {settings.port}: {reason}") from error
    return listening


def _shown_host(settings: ClinicSettings) -> str:
    if settings.names:
        return settings.names[0]
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"[{host}]" if ":" in host else host


def _announce(server: object, ready: Callable[[], None]) -> None:
    while not getattr(server, "started", False):
        if getattr(server, "should_exit", False):
            return
        time.sleep(0.02)
    ready()
