"""TLS 1.3 from clients with a certificate; a silent handshake holds nobody up."""

import datetime
import socket
import ssl

import pytest

from orthoedge.clinic.receiver.tls import server_context
from orthoedge.clinic.settings import ServerTls
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.nodes import (
    association,
    echo,
    eventually,
    image,
    node_settings,
    receiver,
    states,
    store,
)
from tests.helpers.clinic.programs import run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Certificate and key of `localhost`, signed by itself; the other is of a stranger."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("own", "stranger"):
        certificate, key = signed()
        (folder / f"{name}.pem").write_bytes(certificate)
        (folder / f"{name}.key").write_bytes(key)
    return folder


def signed():
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, *plain)


@pytest.fixture
def settings(tmp_path, files):
    tls = ServerTls(
        certificate=str(files / "own.pem"),
        key=str(files / "own.key"),
        ca=str(files / "own.pem"),
    )
    return node_settings(tmp_path, tls=tls, negotiation_s=60)


def client(files, name="own", newest=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=str(files / "own.pem"))
    context.maximum_version = newest
    if name:
        context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    return context


def test_a_client_with_a_certificate_is_served(settings, files, tmp_path):
    with receiver(settings) as spool:
        assert store(settings, image(tmp_path), tls=client(files)).Status == 0
        assert states(spool)[0] == {"1.2.3": "received"}


def test_storescu_is_served(settings, files, tmp_path):
    port, own = str(settings.receiver.port), files / "own.pem"
    with receiver(settings) as spool:
        options = ["+tls", files / "own.key", own, "+cf", own, "-ic"]
        status, output = run(
            "storescu", *options, "-aec", settings.ae_title, "localhost", port, image(tmp_path)
        )
        assert status == 0, output
        assert states(spool)[0] == {"1.2.3": "received"}


@pytest.mark.parametrize("name", ["", "stranger"])
def test_a_client_without_a_known_certificate_is_refused(settings, files, name):
    with receiver(settings):
        assert echo(settings, tls=client(files, name)) is None
        assert echo(settings, tls=client(files)) == 0


def test_an_older_tls_and_none_at_all_are_refused(settings, files):
    with receiver(settings):
        assert echo(settings, tls=client(files, newest=ssl.TLSVersion.TLSv1_2)) is None
        with association(settings) as sender:
            assert not sender.is_established
        assert echo(settings, tls=client(files)) == 0


def test_silent_handshakes_hold_nobody_up(settings, files):
    with receiver(settings):
        silent = [socket.create_connection(("127.0.0.1", settings.receiver.port)) for _ in range(3)]
        assert echo(settings, tls=client(files)) == 0
        for peer in silent:
            peer.close()


def test_a_silent_handshake_is_closed_in_time(tmp_path, settings, files):
    settings = node_settings(tmp_path, tls=settings.receiver.tls, negotiation_s=0.3)
    with receiver(settings):
        peer = socket.create_connection(("127.0.0.1", settings.receiver.port))
        peer.settimeout(60)
        assert eventually(lambda: peer.recv(1) == b"")
        peer.close()


@pytest.mark.parametrize("missing", ["certificate", "key", "ca"])
def test_a_file_that_cannot_be_used_is_named(settings, tmp_path, missing):
    broken = tmp_path / "broken.pem"
    broken.write_text("no PEM")
    given = {name: getattr(settings.receiver.tls, name) for name in ("certificate", "key", "ca")}
    with pytest.raises(ConfigError, match=rf"receiver\.tls\.{missing} .*broken\.pem"):
        server_context(ServerTls(**given | {missing: str(broken)}))
