"""A DICOM association with a destination, with every timeout set."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.destination import Destination, Tls
from orthoedge.clinic.sending.outcome import DestinationError
from orthoedge.clinic.tls_files import load_authorities, load_certificate
from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_VERIFICATION = "1.2.840.10008.1.1"


@contextmanager
def associate(
    destination: Destination, calling_ae: str, contexts: Sequence[PresentationContext]
) -> Iterator[Association]:
    """Open an association with a `dicom` destination, and release it on exit.

    No step waits longer than `destination.timeout_s`: connecting, the TLS handshake, an answer, or
    a pause within a message. C-ECHO is proposed too, so that a peer which accepts nothing else can
    still say so.

    Args:
        destination: of kind `dicom`.
        calling_ae: own AE title.
        contexts: at most 127 proposed presentation contexts.

    Raises:
        DestinationError: it cannot be reached, or refuses the association.
        ConfigError: a file of the TLS settings cannot be used.
        MissingDependency: pynetdicom is not installed.
    """
    try:
        from pynetdicom import AE, evt
        from pynetdicom.presentation import build_context
    except ImportError as error:
        raise MissingDependency("pynetdicom", "clinic", "sending to a DICOM peer") from error
    timeout, is_connected = destination.timeout_s, False

    def limit_socket(event: Any) -> None:
        # pynetdicom clears the timeout once it has connected, and a peer that stops in the middle
        # of a message would then hold the thread for ever.
        nonlocal is_connected
        connection = event.assoc.dul.socket.socket
        connection.settimeout(timeout)
        # Towards a closed port of this machine, Linux may choose the same port for this end; the
        # connection is then one to itself (RFC 9293, simultaneous open).
        is_connected = connection.getsockname() != connection.getpeername()
        if not is_connected:
            failures.append(ConnectionRefusedError(ECONNREFUSED, os.strerror(ECONNREFUSED)))

    entity = AE(calling_ae)
    failures = close_every_socket(entity)
    entity.connection_timeout = entity.acse_timeout = timeout
    entity.dimse_timeout = entity.network_timeout = timeout
    tls = (tls_context(destination.tls), destination.host) if destination.tls else None
    name = f"{destination.ae_title} at {destination.host}:{destination.port}"
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=[build_context(_VERIFICATION), *contexts],
            ae_title=destination.ae_title,
            tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, limit_socket)],
        )
    except OSError as error:  # of the name service
        raise DestinationError(f"{name}: {error.strerror or error}") from error
    if not association.is_established:
        reason = _refusal(association) if is_connected else _failure(failures)
        raise DestinationError(f"{name}: {reason}")
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


def close_every_socket(entity: AE) -> list[BaseException]:
    """Let an entity close its sockets, and collect why one did not connect.

    pynetdicom 3.0.4 leaves a socket open that it cannot shut down, which is each that did not
    connect or that the peer has closed (`AssociationSocket._shutdown_socket`), and tells its log
    alone why it did not connect.
    """
    hooked: Any = entity
    create = hooked._create_socket
    failures: list[BaseException] = []

    def create_socket(*arguments: Any) -> Any:
        made = create(*arguments)
        shut_down = made._shutdown_socket

        def close() -> None:
            failure = sys.exc_info()[1]  # what `connect` is handling when it calls this
            if failure is not None:
                failures.append(failure)
            opened = made.socket
            shut_down()
            if opened is not None:
                opened.close()

        made._shutdown_socket = close
        return made

    hooked._create_socket = create_socket
    return failures


def tls_context(tls: Tls | None) -> ssl.SSLContext:
    """Make the context of a client that checks the peer's certificate and name; TLS 1.2 or newer.

    Raises:
        ConfigError: a file cannot be read, or is no certificate or key.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is None:
        return context
    if tls.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the peer's own authority alone
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_authorities(context, tls.ca, f"tls.ca: {tls.ca}")
    if tls.certificate:
        named = f"tls.certificate and tls.key: {tls.certificate}, {tls.key}"
        load_certificate(context, tls.certificate, tls.key, named)
    return context


def _refusal(association: Association) -> str:
    """Say why a peer that was reached gave no association."""
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        return f"association rejected: {answer.reason_str}"
    return "association aborted, or no answer in time"


def _failure(failures: Sequence[BaseException]) -> str:
    """Say why a peer was not reached."""
    if not failures:
        return "cannot connect"
    first = failures[0]
    if isinstance(first, ssl.SSLCertVerificationError):
        return f"cannot connect: its certificate is not accepted: {first.verify_message}"
    if isinstance(first, TimeoutError):
        return "cannot connect: no answer in time"
    return f"cannot connect: {getattr(first, 'strerror', None) or first}"
