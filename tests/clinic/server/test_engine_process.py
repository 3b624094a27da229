"""A file that ends or stalls the engine's process costs no more than its own answer."""

import contextlib
import os
import signal
import threading
import time

import msgspec
import pytest

from orthoedge.clinic.server import serve
from orthoedge.clinic.settings import EngineSettings
from tests.helpers.clinic.pages import (
    ENGINE,
    PATIENCE_S,
    SAMPLES,
    Answer,
    clinic_server,
    clinic_settings,
)

SAMPLE = SAMPLES[0].read_bytes()


def settings(folder, **engine):
    made = clinic_settings(folder)
    return msgspec.structs.replace(made, engine=msgspec.structs.replace(ENGINE, **engine))


@contextlib.contextmanager
def asked(client):
    """A file that is sent to a process that does not go on; the process, and the replies."""
    client.post("/findings", SAMPLE)
    process = client.state.engine.process_id
    os.kill(process, signal.SIGSTOP)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(client.post("/findings", SAMPLE)))
    thread.start()
    incoming = client.state.history.folder / "incoming"
    end = time.monotonic() + PATIENCE_S
    while not list(incoming.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    yield process, replies
    thread.join(PATIENCE_S)


@pytest.fixture
def client(tmp_path):
    with clinic_server(settings(tmp_path / "history")) as client:
        yield client


def test_no_engine_runs_before_it_is_needed(client):
    client.get("/session")
    client.get("/findings")
    assert client.state.engine.process_id is None
    assert client.post("/findings", SAMPLE).status == 201
    assert client.state.engine.process_id is not None


def test_a_page_that_is_opened_starts_the_engine(client):
    client.get("/session", {"Sec-Fetch-Site": "same-origin"})
    end = time.monotonic() + PATIENCE_S
    while client.state.events.engine_state != "ready" and time.monotonic() < end:
        time.sleep(0.02)
    assert client.state.events.engine_state == "ready"


@pytest.mark.parametrize("is_answering", [False, True])
def test_the_end_of_the_server_gives_up_files_and_tells_their_senders(
    tmp_path, monkeypatch, capfd, is_answering
):
    """An upload that takes longer, or a file whose answer does."""
    monkeypatch.setattr(serve, "_UPLOADS_S", 0.2)
    with clinic_server(settings(tmp_path / "history")) as client, contextlib.ExitStack() as stack:
        if is_answering:
            _, replies = stack.enter_context(asked(client))
        else:
            replies = []
            connection = stack.enter_context(contextlib.closing(client.connect()))
            connection.putrequest("POST", "/api/v1/findings")
            connection.putheader("Content-Length", "1000000")
            connection.endheaders(b"x" * 1000)
            while not client.state.uploads:
                time.sleep(0.01)
        client.stop()
        if not is_answering:
            replies.append(Answer.of(connection.getresponse()))
    assert (replies[0].status, replies[0].json["id"]) == (503, "error.ending")
    assert "Traceback" not in capfd.readouterr().err
    assert list((tmp_path / "history" / "incoming").iterdir()) == []


def test_a_crash_is_the_files_failure_and_the_next_file_is_answered(client):
    with asked(client) as (process, replies):
        os.kill(process, signal.SIGKILL)
    (reply,) = replies
    assert reply.status == 422
    assert "its decoder crashed: the process ended by SIGKILL" in reply.json["error"]
    assert client.post("/findings", SAMPLE).status == 201
    assert [one["failure"] != "" for one in client.get("/findings").json["findings"]] == [
        False,
        True,
        False,
    ]


def test_a_file_that_takes_too_long_is_given_up(tmp_path):
    limits = {"decode_s": 0.5, "silent_s": 10}
    with (
        clinic_server(settings(tmp_path / "history", **limits)) as client,
        asked(client) as (_, replies),
    ):
        pass
    assert "took longer than 1.5 s" in replies[0].json["error"]


def test_a_decoder_that_wants_too_much_memory_gets_an_error(tmp_path):
    with clinic_server(settings(tmp_path / "history", decode_mb=16)) as client:
        import cv2
        import numpy as np

        large = np.random.default_rng(0).integers(0, 60000, (2500, 2500), np.uint16)
        png = cv2.imencode(".png", large)[1].tobytes()
        reply = client.post("/findings", png)
        assert reply.status == 422
        assert "limit 16" in reply.json["error"]
        assert client.post("/findings", SAMPLE).status == 201


def test_an_engine_that_cannot_run_is_said_and_no_finding_is_entered(tmp_path, monkeypatch):
    with clinic_server(settings(tmp_path / "history")) as client:
        broken = EngineSettings(bundle=str(tmp_path / "nothing"), target="portable")
        client.state.engine._command[-2] = msgspec.json.encode(broken).decode()
        reply = client.post("/findings", SAMPLE)
        assert (reply.status, reply.json["id"]) == (503, "error.engine")
        assert client.get("/findings").json["findings"] == []


def test_a_full_disk_is_said_and_the_server_goes_on(client):
    client.post("/findings", SAMPLE)
    database = client.state.history.database
    (pages,) = database.read("PRAGMA page_count")[0]
    database.read(f"PRAGMA max_page_count={pages}")
    statuses = [client.post("/findings", SAMPLE).status for _ in range(4)]
    database.read("PRAGMA max_page_count=100000")
    assert statuses[-1] == 507
    entered = len(client.get("/findings").json["findings"])
    assert entered <= 1 + statuses.count(201) + 1
    assert client.post("/findings", SAMPLE).status == 201


def test_the_engine_ends_with_the_server(tmp_path):
    with clinic_server(settings(tmp_path / "history")) as client:
        client.post("/findings", SAMPLE)
        process = client.state.engine.process_id
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
