"""Certificates, keys and authorities read into a TLS context, with errors that name the files."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from orthoedge.runtime.errors import ConfigError

__all__ = ["load_authorities", "load_certificate"]


def load_certificate(context: ssl.SSLContext, certificate: str, key: str, named: str) -> None:
    """Read the own certificate and its key.

    Args:
        context: changed in place.
        certificate: PEM file.
        key: PEM file, not encrypted: a service has no terminal to ask at for a password.
        named: the settings and files, for the error.

    Raises:
        ConfigError: a file cannot be read, is no PEM, or the key is encrypted or not that of the
            certificate.
    """
    _load(named, lambda: context.load_cert_chain(certificate, key, password=_no_password))


def load_authorities(context: ssl.SSLContext, file: str, named: str) -> None:
    """Read certificates that may have signed the peer's; arguments and errors as above."""
    _load(named, lambda: context.load_verify_locations(file))


def _load(named: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigError(f"{named}: {reason}") from error


def _no_password() -> str:
    """Answer in place of a prompt."""
    raise ValueError("the key is encrypted; store it without a password, readable by the node only")
