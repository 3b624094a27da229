"""STOW-RS against a server that keeps what it gets and answers what a test says."""

import contextlib
import email.parser
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending import DestinationError, echo, send
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.peers import free_port, mute, result_file


@contextlib.contextmanager
def service(status=200, answer=b"", headers=()):
    """Its address, and the requests it got: (path, headers, body)."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, dict(self.headers), body))
            self.reply()

        def do_GET(self):
            requests.append((self.path, dict(self.headers), b""))
            self.reply()

        def reply(self):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/dicom-web", requests
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def destination(url, **changes):
    return Destination(kind="dicomweb", url=url, **{"timeout_s": 30.0, **changes})


def failed(reason):
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def test_the_object_arrives_byte_by_byte_in_one_part(tmp_path):
    file = result_file(tmp_path, "picture")
    with service() as (url, requests):
        (outcome,) = send(destination(url), [file], "ORTHOEDGE")
    assert outcome.state == "stored"
    ((path, headers, body),) = requests
    assert path == "/dicom-web/studies"
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    (part,) = message.iter_parts()
    assert message.get_param("type") == "application/dicom"
    assert part.get_content_type() == "application/dicom"
    assert part.get_payload(decode=True) == file.read_bytes()


@pytest.mark.parametrize(
    ("status", "answer", "state"),
    [
        (200, b"", "stored"),
        (200, b"{}", "stored"),
        (202, b"{}", "stored"),  # with warnings
        (202, failed(0xA700), "retry"),
        (200, failed(0xC000), "refused"),
        (409, failed(0xA900), "refused"),
        (409, failed(0xA700), "retry"),
        (400, b"", "refused"),
        (415, b"", "refused"),
        (401, b"", "retry"),
        (404, b"not here", "retry"),
        (429, b"", "retry"),
        (503, b"", "retry"),
    ],
)
def test_an_answer_decides_whether_to_try_again(tmp_path, status, answer, state):
    file = result_file(tmp_path, "report")
    with service(status, answer) as (url, _):
        (outcome,) = send(destination(url), [file], "ORTHOEDGE")
    assert outcome.state == state
    assert status == 200 or str(status) in outcome.reason


def test_a_redirection_is_not_followed(tmp_path):
    file = result_file(tmp_path, "report")
    with service() as (other, stolen), service(302, b"", [("Location", other)]) as (url, _):
        (outcome,) = send(destination(url), [file], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert "302" in outcome.reason
    assert stolen == []


def test_a_proxy_of_the_environment_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with service() as (url, requests):
        (outcome,) = send(destination(url), [result_file(tmp_path, "report")], "ORTHOEDGE")
    assert outcome.state == "stored"
    assert len(requests) == 1


def test_the_authorization_is_read_from_its_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("Bearer abc\n")
    with service() as (url, requests):
        given = destination(url, authorization_file=str(secret))
        send(given, [result_file(tmp_path, "report")], "ORTHOEDGE")
    assert requests[0][1]["Authorization"] == "Bearer abc"


@pytest.mark.parametrize("content", [b"", b"two\nlines", "größe".encode()])
def test_an_authorization_file_that_is_no_line_is_an_error(tmp_path, content):
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    given = destination("http://127.0.0.1:1", authorization_file=str(secret))
    with pytest.raises(ConfigError, match="authorization_file"):
        send(given, [result_file(tmp_path, "report")], "ORTHOEDGE")


def test_a_service_that_is_down_or_silent_means_a_retry_for_every_file(tmp_path):
    files = [result_file(tmp_path, kind) for kind in ("report", "contour")]
    down = send(destination(f"http://127.0.0.1:{free_port()}"), files, "ORTHOEDGE")
    with mute(b"HTTP/1.1 20") as port:
        silent = send(destination(f"http://127.0.0.1:{port}", timeout_s=0.5), files, "ORTHOEDGE")
    assert [outcome.state for outcome in (*down, *silent)] == ["retry"] * 4
    assert "no answer in time" in silent[1].reason


def test_echo_asks_for_studies():
    with service() as (url, requests):
        echo(destination(url), "ORTHOEDGE")
    assert requests[0][0] == "/dicom-web/studies?limit=1"
    with service(403) as (url, _), pytest.raises(DestinationError, match="403"):
        echo(destination(url), "ORTHOEDGE")
