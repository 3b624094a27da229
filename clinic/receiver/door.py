"""Which connections stay open, so that no peer keeps others out.

pynetdicom frees an association whose peer is silent, but not one whose peer stops in the middle of
a PDU, and it counts connections that never become associations. Here every connection has a time by
which it must be an association, and a time within which its next complete PDU must come; and where
all places are taken, the connection that has been silent the longest gives way to a new one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.log import Log
from orthoedge.clinic.settings import ReceiverSettings

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["Door", "end_negotiation"]

_PLACELESS = 16  # connections beyond the places, at a time
_SETTLING_S = 0.5  # a connection younger than this may still be about to send
_WAIT_S, _POLL_S = 2.0, 0.05
_ENDING_S = 60.0  # after which a thread that should have ended is no longer waited for


@dataclass
class _Connection:
    socket: socket.socket
    peer: str
    opened: float
    heard: float
    """When its last complete PDU came."""
    association: Association | None = None
    has_place: bool = True
    """False while all places are taken by others that are not silent."""
    closed: float | None = None
    """When it was closed; its thread then ends soon."""
    is_working: bool = False
    """Whether an answer is being made, so that the peer rightly waits."""

    @property
    def is_established(self) -> bool:
        return self.association is not None and bool(self.association.is_established)

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun and not ended."""
        return self.association is not None and self.association.dimse.message is not None

    @property
    def has_ended(self) -> bool:
        thread = self.association
        return thread is not None and thread.ident is not None and not thread.is_alive()


class Door:
    """The open connections of a receiver, from the handshake to their end.

    Args:
        limits: how many, and how long they may be silent.
        log: is told which connections are closed.
    """

    def __init__(self, limits: ReceiverSettings, log: Log) -> None:
        self._limits = limits
        self._log = log
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, _Connection] = {}
        self._associations: dict[Association, _Connection] = {}

    def admit(self, connection: socket.socket, peer: str) -> None:
        """Let in a new connection from the address `peer`.

        Where its peer, or all of them together, have as many as they may, and none of these has
        been silent, it is let in without a place: `find_place` says what becomes of it. Of such
        connections there are a few; the oldest is closed for the newest.
        """
        now = time.monotonic()
        admitted = _Connection(connection, peer, now, now, has_place=False)
        with self._lock:
            self._drop_ended()
            admitted.has_place = self._make_place(admitted, now)
            if not admitted.has_place:
                placeless = [each for each in self._open() if not each.has_place]
                if len(placeless) >= _PLACELESS:
                    self._close(placeless[0], "all places are taken")
            self._connections[connection] = admitted

    def attach(self, association: Association) -> None:
        """A connection has got the thread that negotiates and serves its association."""
        wrapper = association.dul.socket
        with self._lock:
            connection = self._connections.get(wrapper.socket)  # type: ignore[union-attr, arg-type]
            if connection is not None:
                connection.association = association
                self._associations[association] = connection

    def find_place(self, association: Association) -> bool:
        """Return whether an association that was requested is to be accepted.

        Whoever requests one is worth more than a connection that says nothing: wait for up to two
        seconds until one of those has been silent for long enough to give way.
        """
        connection = self._associations.get(association)
        deadline = time.monotonic() + _WAIT_S
        while connection is not None and not connection.has_place:
            now = time.monotonic()
            if now > deadline:
                self._log("association rejected: all places are taken", peer=connection.peer)
                return False
            with self._lock:
                self._drop_ended()
                connection.has_place = self._make_place(connection, now)
            if not connection.has_place:
                time.sleep(_POLL_S)
        return True

    def hear(self, association: Association) -> None:
        """A complete PDU has come."""
        connection = self._associations.get(association)
        if connection is not None:
            connection.heard = time.monotonic()

    @contextmanager
    def working(self, association: Association) -> Iterator[None]:
        """Keep a connection open while its peer waits for an answer."""
        connection = self._associations.get(association)
        if connection is None:
            yield
            return
        connection.is_working = True
        try:
            yield
        finally:
            connection.heard = time.monotonic()
            connection.is_working = False

    def forget(self, connection: socket.socket) -> None:
        """A connection has ended before it became an association."""
        with self._lock:
            self._connections.pop(connection, None)

    def close_silent(self) -> None:
        """Close the connections whose time is over; called several times a second."""
        now, limits = time.monotonic(), self._limits
        with self._lock:
            self._drop_ended()
            for each in self._open():
                if each.is_working:
                    continue
                if not each.is_established and now - each.opened > limits.negotiation_s:
                    self._close(each, "no association in time")
                elif now - each.heard > limits.idle_s:
                    self._close(each, "silent for too long")

    def close_all(self) -> None:
        """Close every connection; what is under way is lost, and its sender hears of no success."""
        with self._lock:
            for each in self._connections.values():
                _shut(each.socket)
                if each.association is not None:
                    end_negotiation(each.association)
                with contextlib.suppress(OSError):
                    each.socket.close()
            self._connections.clear()
            self._associations.clear()

    def _drop_ended(self) -> None:
        now = time.monotonic()
        ended = [
            each
            for each in self._connections.values()
            if each.has_ended or (each.closed is not None and now - each.closed > _ENDING_S)
        ]
        for each in ended:
            _shut(each.socket)
            with contextlib.suppress(OSError):
                each.socket.close()
            del self._connections[each.socket]
            if each.association is not None:
                self._associations.pop(each.association, None)

    def _make_place(self, newcomer: _Connection, now: float) -> bool:
        """Return whether there is a place, after closing the one that was silent the longest."""
        placed = [each for each in self._open() if each.has_place]
        same = [each for each in placed if each.peer == newcomer.peer]
        if len(same) >= self._limits.max_per_peer:
            candidates = same
        elif len(placed) >= self._limits.max_associations:
            candidates = placed
        else:
            return True
        silent = [each for each in candidates if self._is_silent(each, now)]
        if not silent:
            return False
        longest = min(silent, key=lambda each: each.heard)
        self._close(longest, "silent while all places were taken")
        return True

    def _open(self) -> list[_Connection]:
        return [each for each in self._connections.values() if each.closed is None]

    def _is_silent(self, each: _Connection, now: float) -> bool:
        if each.is_working:
            return False
        allowed = self._limits.stall_s if each.is_receiving else _SETTLING_S
        return now - each.heard > allowed

    def _close(self, each: _Connection, why: str) -> None:
        """End a connection: its own thread, which waits for it, then closes it."""
        _shut(each.socket)
        if each.association is not None:
            end_negotiation(each.association)
        each.closed = time.monotonic()
        self._log("connection closed", peer=each.peer, reason=why)


def end_negotiation(association: Association) -> None:
    """End a thread that waits for the request of an association whose connection has ended.

    pynetdicom would let it wait for the rest of its time, and hold its memory.
    """
    if association.requestor.primitive is None:
        queue: Any = association.dul.to_user_queue
        queue.put(None)  # what the thread gets when its time is over


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the method of an SSLSocket, which takes its TLS state from the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
