"""systemd hears READY=1 and WATCHDOG=1 only from a node whose engine gives right answers."""

import socket

import pytest

from orthoedge.clinic.operations.golden import GoldenCheck
from orthoedge.clinic.operations.notify import Notifier
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.nodes import node_settings


class Manager:
    """The socket of a service manager."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def heard(self):
        self.socket.setblocking(False)
        messages = []
        while True:
            try:
                messages += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if request.param == "path" else f"@orthoedge{tmp_path.name}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    made = Manager("\0" + name[1:] if name.startswith("@") else name)
    yield made
    made.socket.close()


def listening(settings):
    return socket.create_server(("127.0.0.1", settings.receiver.port))


def test_ready_comes_once_the_port_is_open_and_the_engine_sound(manager, tmp_path):
    settings = node_settings(tmp_path)
    settings.folder.mkdir()
    notifier = Notifier(settings, has_receiver=True)
    notifier.step()
    assert manager.heard() == []
    settings.worker_sound.touch()
    notifier.step()
    assert manager.heard() == []  # the port is not open yet
    with listening(settings):
        notifier.step()
        assert manager.heard() == ["READY=1", "WATCHDOG=1"]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]


def test_the_watchdog_is_fed_once_for_each_golden_image(manager, tmp_path):
    settings = node_settings(tmp_path)
    settings.folder.mkdir()
    settings.worker_sound.touch()  # of an earlier run
    notifier = Notifier(settings, has_receiver=False)
    notifier.step()
    assert manager.heard() == []
    for expected in (["READY=1", "WATCHDOG=1"], ["WATCHDOG=1"], ["WATCHDOG=1"]):
        before = settings.worker_sound.stat().st_mtime_ns
        while settings.worker_sound.stat().st_mtime_ns == before:
            settings.worker_sound.touch()
        for _ in range(3):
            notifier.step()
        assert manager.heard() == expected


def test_a_manager_that_is_gone_does_not_end_the_node(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    Notifier(node_settings(tmp_path), has_receiver=True).stopping()


class WrongLater:
    """An engine whose logits change after some calls."""

    def __init__(self, engine, calls):
        self._engine, self.left = engine, calls

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, images, *rest):
        outputs = self._engine.run(images, *rest)
        self.left -= 1
        if self.left >= 0:
            return outputs
        return Outputs(outputs.logits + 1e-6, outputs.saliency_map, outputs.feature_vector)


@pytest.fixture
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="portable")


def replace_engine(pipeline, engine):
    from orthoedge.runtime.pipeline import ActiveEngine

    pipeline._active = ActiveEngine.for_bundle(pipeline.bundle, engine)


def test_an_engine_that_stays_the_same_is_sound(pipeline):
    check = GoldenCheck(pipeline, 1000.0)
    assert check.is_due()
    check.check()
    assert not check.is_due()
    check.check()


def test_an_engine_whose_answer_changes_in_the_last_bits_is_not_sound(pipeline):
    engine = WrongLater(pipeline.engine, 1000)
    replace_engine(pipeline, engine)
    check = GoldenCheck(pipeline, 0.0)
    check.check()
    engine.left = 0
    with pytest.raises(EngineError, match="another answer than at the start"):
        check.check()
    assert check.is_due()


def test_an_engine_outside_the_tolerances_is_not_sound_at_the_start(pipeline):
    class Wrong(WrongLater):
        def run(self, images, *rest):
            outputs = self._engine.run(images, *rest)
            return Outputs(-outputs.logits, outputs.saliency_map, outputs.feature_vector)

    replace_engine(pipeline, Wrong(pipeline.engine, 0))
    with pytest.raises(EngineError, match="orthoedge verify"):
        GoldenCheck(pipeline, 0.0).check()
