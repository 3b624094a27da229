"""What every request passes first: name of the server, origin of the request, headers of the reply.

Sources: DNS rebinding is stopped by the Host header, since the attacker's page has the attacker's
name there; requests of other pages by Sec-Fetch-Site (W3C Fetch Metadata) and Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.settings import ClinicSettings

__all__ = ["HEADERS", "check_origin", "with_headers"]

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every reply."""

_SAFE = ("GET", "HEAD")
_OWN = ("same-origin", "none")

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]


def check_origin(
    settings: ClinicSettings, method: str, is_api: bool, header: Callable[[str], str]
) -> None:
    """Check the name of the server and where a request comes from.

    Args:
        settings: the names by which the server is known.
        method: of the request.
        is_api: whether it asks the API; the page itself may be linked to from anywhere.
        header: the value of a header, empty if it is not there.

    Raises:
        ApiError: another name, or another page's request.
    """
    host = header("host")
    if not _is_known(settings, _without_port(host)):
        raise ApiError("error.host")
    site = header("sec-fetch-site")
    if (is_api or method not in _SAFE) and site and site not in _OWN:
        raise ApiError("error.cross_site")
    origin = header("origin")
    scheme = "https" if settings.tls else "http"
    if origin and method not in _SAFE and origin != f"{scheme}://{host}":
        raise ApiError("error.cross_site")


def with_headers(send: _Send) -> _Send:
    """A `send` of ASGI that adds `HEADERS`."""
    lines = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def send_with_headers(message: _Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [line for line in lines if line[0] not in own]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return send_with_headers


def _is_known(settings: ClinicSettings, name: str) -> bool:
    if name in ("localhost", *settings.names):
        return True
    try:  # a page cannot be loaded from an address that is not this server's
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
