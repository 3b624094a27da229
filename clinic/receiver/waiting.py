"""The two threads of an association wait for what comes.

pynetdicom lets each of them look a thousand times a second, which is a fifth of a core for 40
silent connections, and on a busy machine delays every PDU by the time until the thread runs again.
"""

from __future__ import annotations

import queue
import select
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["is_readable", "wait_for_events"]

_SHORTEST_S, _LONGEST_S = 0.001, 0.05
_SHARE = 20


class _Patience:
    """How long to wait for one thing before looking at others: a share of the silence so far.

    So what is looked at in between, such as an answer to be sent, is late by that share at most.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()

    def restart(self) -> None:
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        silent = time.monotonic() - self._since
        return min(max(silent / _SHARE, _SHORTEST_S), _LONGEST_S)


def wait_for_events(association: Association) -> None:
    """Let the threads of an association wait on their socket and on their queue."""
    _wait_on_socket(association.dul)
    _wait_on_queue(association.dimse)


def _wait_on_socket(provider: Any) -> None:
    look = provider._is_transport_event
    patience = _Patience()

    def look_patiently() -> bool:
        connection = provider.socket.socket
        nothing_to_do = provider.to_provider_queue.empty() and provider.event_queue.empty()
        if connection is not None and nothing_to_do:
            is_readable(connection, patience.seconds)
        has_come = bool(look())
        if has_come:
            patience.restart()
        return has_come

    provider._is_transport_event = look_patiently


def is_readable(connection: Any, seconds: float) -> bool:
    """Wait for data of a connection; whether there is any, or its end."""
    if getattr(connection, "pending", int)():  # of TLS, decrypted: its socket no longer shows it
        return True
    try:
        return bool(select.select([connection], [], [], seconds)[0])
    except (OSError, ValueError):  # closed meanwhile, as whoever reads finds out too
        return True


def _wait_on_queue(messages: Any) -> None:
    get = messages.get_msg
    patience = _Patience()

    def get_patiently(block: bool = False) -> Any:
        if block:
            return get(block=True)
        try:
            message = messages.msg_queue.get(timeout=patience.seconds)
        except queue.Empty:
            return None, None
        patience.restart()
        return message

    messages.get_msg = get_patiently
