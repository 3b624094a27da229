"""A DICOM association with a destination, with every timeout set."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.destination import Destination, Tls
from orthoedge.clinic.sending.outcome import DestinationError
from orthoedge.runtime.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

Handlers = Sequence[tuple[Any, Callable[..., Any]]]


@contextmanager
def associate(
    destination: Destination,
    calling_ae: str,
    contexts: Sequence[PresentationContext],
    handlers: Handlers = (),
) -> Iterator[Association]:
    """Open an association with a `dicom` destination, and release it on exit.

    No step waits longer than `destination.timeout_s`: connecting, the TLS handshake, an answer, or
    a pause within a message.

    Args:
        destination: of kind `dicom`.
        calling_ae: own AE title.
        contexts: at most 128 proposed presentation contexts.
        handlers: events and their functions, as `AE.associate` takes them.

    Raises:
        DestinationError: it cannot be reached, or refuses the association.
        ConfigError: a file of the TLS settings cannot be used.
        MissingDependency: pynetdicom is not installed.
    """
    try:
        from pynetdicom import AE, evt
    except ImportError as error:
        raise MissingDependency("pynetdicom", "clinic", "sending to a DICOM peer") from error
    timeout = destination.timeout_s

    def limit_socket(event: Any) -> None:
        # pynetdicom clears the timeout once it has connected, and a peer that stops in the middle
        # of a message would then hold the thread for ever.
        event.assoc.dul.socket.socket.settimeout(timeout)

    entity = AE(calling_ae)
    entity.connection_timeout = entity.acse_timeout = timeout
    entity.dimse_timeout = entity.network_timeout = timeout
    tls = (tls_context(destination.tls), destination.host) if destination.tls else None
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=list(contexts),
            ae_title=destination.ae_title,
            tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, limit_socket), *handlers],
        )
    except OSError as error:
        raise DestinationError(f"{_name(destination)}: {error.strerror or error}") from error
    if not association.is_established:
        raise DestinationError(f"{_name(destination)}: {_refusal(association)}")
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


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
        _load("tls.ca", tls.ca, lambda: context.load_verify_locations(tls.ca))
    if tls.certificate:
        _load(
            "tls.certificate and tls.key",
            f"{tls.certificate}, {tls.key}",
            lambda: context.load_cert_chain(tls.certificate, tls.key, password=_no_password),
        )
    return context


def _load(key: str, files: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigError(f"{key}: {files}: {reason}") from error


def _no_password() -> str:
    """Answer in place of a prompt on the terminal."""
    raise ValueError("the key is encrypted: store it without a password")


def _refusal(association: Association) -> str:
    """Say why an association was not established."""
    if association.is_rejected:
        primitive = association.acceptor.primitive
        return f"association rejected: {primitive.reason_str}"
    if association.is_aborted:
        return "association aborted, or no answer in time"
    return "cannot connect"


def _name(destination: Destination) -> str:
    return f"{destination.ae_title} at {destination.host}:{destination.port}"
