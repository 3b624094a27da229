"""TLS of the receiver: version 1.3, and a certificate from every client (PS3.15 B.12)."""

from __future__ import annotations

import ssl

from orthoedge.clinic.settings import ServerTls
from orthoedge.clinic.tls_files import load_authorities, load_certificate

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
    load_certificate(context, tls.certificate, tls.key, own)
    load_authorities(context, tls.ca, f"receiver.tls.ca {tls.ca}")
    return context
