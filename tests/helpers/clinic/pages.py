"""A clinic's server in this process, and a client that sends what a browser would, or worse."""

import contextlib
import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from orthoedge.clinic.server.serve import make_server, make_state
from orthoedge.clinic.server.settings import ClinicSettings, PageTls, UploadSettings
from orthoedge.clinic.settings import EngineSettings

ROOT = "/api/v1"
SAMPLES = sorted((Path(__file__).parents[3] / "runtime/assets/samples/radiographs").glob("*.jpg"))
PATIENCE_S = 60
ENGINE = EngineSettings(bundle="phantom", target="portable", threads=1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @classmethod
    def of(cls, reply):
        return cls(reply.status, reply.headers, reply.read())

    @property
    def json(self):
        return json.loads(self.content)


class Client:
    """Sends requests over one connection each, with the cookie of the last login."""

    def __init__(self, port, tls_authority=None):
        self.port = port
        self.cookie = ""
        self.csrf = ""
        self._tls = ssl.create_default_context(cafile=tls_authority) if tls_authority else None

    def connect(self):
        if self._tls:
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=PATIENCE_S, context=self._tls
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, headers=None):
        given = {}
        if self.cookie:
            given["Cookie"] = self.cookie
        if self.csrf:
            given["X-CSRF-Token"] = self.csrf
        given |= headers or {}
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            return Answer.of(reply)

    def get(self, path, headers=None):
        return self.ask("GET", ROOT + path, headers=headers)

    def post(self, path, body=None, headers=None):
        return self.ask("POST", ROOT + path, body if body is not None else b"", headers)

    def delete(self, path, headers=None):
        return self.ask("DELETE", ROOT + path, headers=headers)

    def log_in(self, user, password):
        reply = self.post("/session", {"user": user, "password": password})
        if reply.status == 200:
            self.cookie = reply.headers["Set-Cookie"].partition(";")[0]
            self.csrf = reply.json["csrf"]
        return reply

    def events(self):
        """An open stream of events; the reply whose lines can be read."""
        connection = self.connect()
        headers = {"Cookie": self.cookie} if self.cookie else {}
        connection.request("GET", f"{ROOT}/events", headers=headers)
        return connection, connection.getresponse()


def clinic_settings(folder, *, tls=None, upload=None, **given):
    """Settings of a server on a free port of the loopback."""
    if tls:
        given["tls"] = PageTls(certificate=str(tls / "server.pem"), key=str(tls / "server.key"))
    return ClinicSettings(
        folder=str(folder), port=0, engine=ENGINE, upload=upload or UploadSettings(), **given
    )


@contextlib.contextmanager
def clinic_server(settings, authority=None):
    """A server that runs; its client, whose `state` is that of the server."""
    state = make_state(settings)
    server, listening = make_server(state)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    client = Client(listening.getsockname()[1], authority)
    client.state = state
    client.stop = lambda: setattr(server, "should_exit", True)
    try:
        yield client
    finally:
        client.stop()
        thread.join(PATIENCE_S)
        listening.close()
        state.history.close()
        assert not thread.is_alive()
