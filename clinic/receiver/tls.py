"""TLS of the receiver: version 1.3, and a certificate from every client (PS3.15 B.12)."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from orthoedge.clinic.settings import ServerTls
from orthoedge.runtime.errors import ConfigError

__all__ = ["server_context"]


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """Make the context of a server that takes TLS 1.3 from clients with a certificate alone.

    Raises:
        ConfigError: a file cannot be read, is no PEM, or the key is encrypted or not that of the
            certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    own = f"receiver.tls.certificate {tls.certificate}, receiver.tls.key {tls.key}"
    _load(own, lambda: context.load_cert_chain(tls.certificate, tls.key, password=_no_password))
    _load(f"receiver.tls.ca {tls.ca}", lambda: context.load_verify_locations(tls.ca))
    return context


def _load(files: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigError(f"{files}: {reason}") from error


def _no_password() -> str:
    """Answer in place of a prompt, for which a service has no terminal."""
    raise ValueError("the key is encrypted; store it without a password, readable by the node only")
