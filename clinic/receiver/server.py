"""The server of the receiver: pynetdicom's, with the door in front of it."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from functools import cache
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.log import Log
from orthoedge.clinic.receiver.contexts import contexts
from orthoedge.clinic.receiver.door import Door, end_negotiation
from orthoedge.clinic.receiver.guard import MessageGuard
from orthoedge.clinic.receiver.intake import store
from orthoedge.clinic.receiver.pdus import read_pdus
from orthoedge.clinic.receiver.tls import server_context
from orthoedge.clinic.receiver.waiting import wait_for_events
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.spool import Spool

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

__all__ = ["make_server"]

_COMMITMENT = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model (PS3.4 annex J)
_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)  # transient, presentation related (PS3.8 table 9-21)
_NO_LIMIT = 1_000_000
_PDU = 2**17  # bytes offered: larger ones measured no faster
_MIB = 2**20


def make_server(
    settings: NodeSettings,
    spool: Spool,
    log: Log,
    on_commitment: Callable[[Event], Any] | None = None,
) -> Any:
    """Make the server and listen; the caller runs its `serve_forever`.

    Args:
        settings: of the node.
        spool: takes the objects.
        log: takes a line for each.
        on_commitment: takes reports on storage commitment, which peers send as they please; None
            refuses them.

    Raises:
        ConfigError: the TLS files or a class cannot be used.
        OSError: the port is taken, or the address is not of this machine.
    """
    from pynetdicom import AE, evt

    limits = settings.receiver
    door = Door(limits, log)
    entity = AE(settings.ae_title)
    entity.maximum_associations = _NO_LIMIT  # the door counts, and lets go who has ended
    entity.acse_timeout = limits.negotiation_s
    entity.dimse_timeout = entity.network_timeout = limits.idle_s
    entity.maximum_pdu_size = _PDU
    entity.require_called_aet = limits.called_ae
    entity.require_calling_aet = list(limits.calling_ae)
    accepted = contexts(limits.other_classes)

    def opened(event: Event) -> None:
        association: Any = event.assoc
        door.attach(association)
        largest = int(limits.max_object_mb * _MIB)
        guard = MessageGuard(association, largest, spool.refusal, log)
        association.dimse.receive_primitive = guard
        read_pdus(association, guard, lambda: door.hear(association))
        wait_for_events(association)

    def closed(event: Event) -> None:
        guard = event.assoc.dimse.receive_primitive
        if isinstance(guard, MessageGuard):
            guard.remove_unfinished()
        end_negotiation(event.assoc)

    def requested(event: Event) -> None:
        if not door.find_place(event.assoc):
            event.assoc.acse.send_reject(*_LIMIT_EXCEEDED)
            event.assoc.kill()  # returns once it is sent

    def on_store(event: Event) -> int | Dataset:
        with door.working(event.assoc):
            return store(event, spool, log)

    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, opened),
        (evt.EVT_REQUESTED, requested),
        (evt.EVT_DATA_RECV, lambda event: door.hear(event.assoc)),
        (evt.EVT_CONN_CLOSE, closed),
        (evt.EVT_C_ECHO, lambda event: 0x0000),
        (evt.EVT_C_STORE, on_store),
    ]
    if on_commitment is not None:
        from pynetdicom.presentation import build_context

        context = build_context(_COMMITMENT)
        context.scu_role = context.scp_role = True
        accepted.append(context)
        handlers.append((evt.EVT_N_EVENT_REPORT, on_commitment))
    server: Any = entity.make_server(
        (limits.host, limits.port),
        ae_title=settings.ae_title,
        contexts=accepted,
        ssl_context=None if limits.tls is None else server_context(limits.tls),
        evt_handlers=handlers,
        server_class=_server_class(),
    )
    server.door, server.log, server.stall_s = door, log, limits.stall_s
    return server


@cache
def _server_class() -> type[ThreadedAssociationServer]:
    """The class, made here since pynetdicom is not imported with this module."""
    from pynetdicom.transport import ThreadedAssociationServer

    class Server(ThreadedAssociationServer):
        """Accepts connections; nothing that a peer does or leaves undone holds the accept thread.

        pynetdicom does the TLS handshake in that thread and without a time limit, so that one
        silent connection keeps everyone out (as did fo-dicom#1766 and dcm4che#939); and accepted
        sockets have no timeout, so that half a PDU header holds an association for ever.
        """

        daemon_threads = True
        request_queue_size = 128
        door: Door
        log: Log
        stall_s: float

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = self.socket.accept()  # type: ignore[union-attr]
            connection.settimeout(self.stall_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.ssl_context is not None:
                connection = self.ssl_context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            return connection, address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            self.door.admit(request, client_address[0])
            return True

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                if isinstance(request, ssl.SSLSocket):
                    request.do_handshake()
            except (OSError, ValueError) as error:  # an SSLError is an OSError
                reason = getattr(error, "reason", None) or str(error)
                self.log("TLS handshake failed", peer=client_address[0], reason=reason)
                self.door.forget(request)
                self.shutdown_request(request)
                return
            super().process_request_thread(request, client_address)

        def service_actions(self) -> None:
            super().service_actions()
            self.door.close_silent()

        def shutdown(self) -> None:
            # pynetdicom's own expects a server that `start_server` made.
            TCPServer.shutdown(self)
            self.server_close()

        def close_connections(self) -> None:
            self.door.close_all()

        def handle_error(self, request: Any, client_address: Any) -> None:
            error = sys.exc_info()[1]
            self.door.forget(request)
            self.log("connection failed", peer=client_address[0], reason=repr(error)[:200])

    return Server
