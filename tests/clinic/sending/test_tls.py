"""TLS with a DICOM peer: both sides show a certificate, and neither takes a stranger's."""

import ssl

import pytest

from orthoedge.clinic.destination import Tls
from orthoedge.clinic.sending import send
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.certificates import write_certificates
from tests.helpers.clinic.peers import destination, mute, result_file, server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


def server_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client(folder, **changes):
    files = {
        "ca": str(folder / "ca.pem"),
        "certificate": str(folder / "client.pem"),
        "key": str(folder / "client.key"),
    }
    return Tls(**{**files, **changes})


def test_an_object_is_stored_over_tls(tmp_path, certificates):
    file = result_file(tmp_path, "report")
    with server(tls=server_context(certificates)) as port:
        (outcome,) = send(destination(port, tls=client(certificates)), [file], "ORTHOEDGE")
    assert outcome.state == "stored", outcome


def test_a_peer_of_another_authority_gets_nothing(tmp_path, certificates):
    file = result_file(tmp_path, "report")
    other = tmp_path / "other"
    other.mkdir()
    write_certificates(other)
    stored = []
    with server(store=stored.append, tls=server_context(certificates)) as port:
        tls = client(certificates, ca=str(other / "ca.pem"))
        (outcome,) = send(destination(port, tls=tls), [file], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert "certificate is not accepted" in outcome.reason
    assert stored == []


def test_a_peer_that_is_silent_in_the_handshake_is_left_after_the_timeout(tmp_path, certificates):
    file = result_file(tmp_path, "report")
    with mute() as port:
        given = destination(port, tls=client(certificates), timeout_s=1.0)
        (outcome,) = send(given, [file], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert "no answer in time" in outcome.reason


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_a_file_that_cannot_be_used_is_an_error_that_names_the_key(tmp_path, certificates, key):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    given = destination(1, tls=client(certificates, **{key: str(bad)}))
    with pytest.raises(ConfigError, match=f"tls.{key}"):
        send(given, [result_file(tmp_path, "report")], "ORTHOEDGE")
