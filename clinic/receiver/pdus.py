"""How an association reads its PDUs.

pynetdicom reads a PDU of any length into memory, 4 KiB at a time, and copies the data of an image
six times on its way to the file. Here a PDU has a limit and is read in few system calls, and what
belongs to the data set of a C-STORE goes from the socket's buffer to the file.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.receiver.guard import MessageGuard
from orthoedge.clinic.receiver.waiting import is_readable

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["LARGEST_PDU", "read_pdus"]

LARGEST_PDU = 2**20
"""Bytes of a PDU that is read. 128 KiB are offered; an association request can be somewhat larger
than what is offered for data."""
_HEADER = 6  # bytes: type, reserved, length (PS3.8 9.3.1)
_P_DATA = 4
_COMMAND, _LAST = 1, 2  # bits of the message control header (PS3.8 E.2)
_DATA_TRANSFER, _CONNECTION_CLOSED = "Sta6", "Evt17"  # PS3.8 9.2
_NEXT_S = 0.01  # to wait for the next PDU of a data set, before anything else is looked at


def read_pdus(association: Association, guard: MessageGuard, heard: Callable[[], None]) -> None:
    """Let an association read its PDUs in this way.

    Args:
        association: whose connection is open.
        guard: receives the data sets of images; all else goes through pynetdicom.
        heard: called for each PDU that pynetdicom does not get to see.
    """
    reader = _Reader(association, guard, heard)
    wrapper: Any = association.dul.socket
    provider: Any = association.dul
    wrapper.recv = reader.receive
    provider._read_pdu_data = reader.read_pdu


class _Reader:
    def __init__(
        self, association: Association, guard: MessageGuard, heard: Callable[[], None]
    ) -> None:
        self._provider: Any = association.dul
        self._read_pdu: Callable[[], None] = self._provider._read_pdu_data
        self._guard = guard
        self._heard = heard
        self._buffer = bytearray()
        self._read_ahead: list[bytearray] = []

    def receive(self, count: int) -> bytearray:
        """Receive `count` bytes, or fewer where the peer has closed the connection.

        Raises:
            OSError: more than a PDU may have, or the connection fails.
        """
        if self._read_ahead:
            return self._read_ahead.pop(0)
        if count > LARGEST_PDU:
            raise OSError(f"a PDU of {count} bytes, at most {LARGEST_PDU} are read")
        content = bytearray(count)
        with memoryview(content) as view:
            done = self._fill(view)
        del content[done:]
        return content

    def read_pdu(self) -> None:
        """Read what has come; takes the place of pynetdicom's method for one PDU."""
        provider = self._provider
        while True:
            context = self._guard.stored_context
            if context is None or provider.state_machine.current_state != _DATA_TRANSFER:
                self._read_pdu()
                return
            try:
                if not self._store_data(context):
                    return
            except OSError:
                provider.event_queue.put(_CONNECTION_CLOSED)
                return
            is_complete = self._guard.stored_context is None
            if is_complete or provider._kill_thread or not provider.event_queue.empty():
                return
            if not is_readable(provider.socket.socket, _NEXT_S):
                return

    def _store_data(self, context: int) -> bool:
        """Read one PDU, which should be of the data set that is received; whether it was.

        Raises:
            OSError: the connection fails, or has ended.
        """
        header = self.receive(_HEADER)
        length = int.from_bytes(header[2:], "big")
        if len(header) < _HEADER or header[0] != _P_DATA or length > LARGEST_PDU:
            self._read_ahead = [header]
            self._read_pdu()
            return False
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        with memoryview(self._buffer)[:length] as body:
            if self._fill(body) < length:
                raise ConnectionError("the peer closed the connection within a PDU")
            fragments = _data_fragments(body, context)
            if fragments is None:
                self._read_ahead = [header, bytearray(body)]
                self._read_pdu()
                return False
            self._heard()
            for data, is_last in fragments:
                with data:
                    self._guard.store(context, data, is_last)
        return True

    def _fill(self, view: memoryview) -> int:
        """Fill a buffer from the connection; how many bytes came before its end."""
        connection = self._provider.socket.socket
        done = 0
        while done < len(view):
            size = connection.recv_into(view[done:])
            if not size:
                break
            done += size
        _acknowledge(connection)
        return done


def _acknowledge(connection: socket.socket) -> None:
    """Let the system acknowledge at once what has come.

    By default it waits 40 ms for an answer to go with, while a sender with Nagle's algorithm (RFC
    896), such as dcmtk, waits for it between a command and its data set. Linux forgets the option
    with the next answer.
    """
    with contextlib.suppress(AttributeError):  # no such option in this system
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _data_fragments(body: memoryview, context: int) -> list[tuple[memoryview, bool]] | None:
    """The fragments of a P-DATA-TF PDU, and whether each is the last of its data set (PS3.8 9.3.5).

    None unless all of them belong to the one data set that is received in `context`.
    """
    fragments: list[tuple[memoryview, bool]] = []
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        end = at + 4 + length
        if length < 2 or end > len(body) or body[at + 4] != context:
            return None
        control = body[at + 5]
        if control & _COMMAND or (fragments and fragments[-1][1]):
            return None
        fragments.append((body[at + 6 : end], bool(control & _LAST)))
        at = end
    return fragments
