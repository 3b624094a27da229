"""The node loses and doubles nothing where its processes are killed, and stays open to senders.

`ORTHOEDGE_NODE_KILLS` and `ORTHOEDGE_NODE_STORES` change how many kills and images there are.
"""

import collections
import contextlib
import hashlib
import itertools
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import pytest

from tests.helpers.clinic.certificates import write_certificates
from tests.helpers.clinic.nodes import eventually, image, node_settings, store
from tests.helpers.clinic.peers import TITLE, is_closed, server, wait_for_port
from tests.helpers.clinic.processes import ROLES, processes

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ORTHOEDGE_NODE_KILLS", "300"))
STORES = int(os.environ.get("ORTHOEDGE_NODE_STORES", "100"))
HOSTILE = 40
TRIES = 8  # of the sender for an image, as units have them; how many were needed is printed
OBJECTS = 3  # of an image: itself, picture and report
PATIENCE_S = 1200


class Archive:
    """What a destination was sent: content by UID, and how often."""

    def __init__(self):
        self.contents = collections.defaultdict(set)
        self.times = collections.Counter()

    def keep(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.contents[uid].add(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        self.times[uid] += 1
        return 0


class Unit(threading.Thread):
    """Sends images one after another, each until the node says that it has it."""

    def __init__(self, settings, folder):
        super().__init__(daemon=True)
        self._settings = settings
        self._folder = folder
        self._end = threading.Event()
        self.stored = []
        self.failures = 0

    def run(self):
        for number in itertools.count(1):
            file = image(self._folder, f"1.2.{number}")
            # By two implementations in turn, where there are two.
            send = self._by_storescu if number % 2 and shutil.which("storescu") else self._by_us
            while not send(file):
                self.failures += 1
                time.sleep(0.1)
            self.stored.append(file.stem)
            file.unlink()
            if self._end.wait(0.1):
                return

    def _by_storescu(self, file):
        port = str(self._settings.receiver.port)
        command = ["storescu", "-to", "60", "-aec", self._settings.ae_title, "127.0.0.1", port]
        sent = subprocess.run([*command, str(file)], capture_output=True, timeout=300)
        return sent.returncode == 0

    def _by_us(self, file):
        return is_stored(self._settings, file)

    def finish(self):
        self._end.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()


def is_stored(settings, file, tls=None):
    with contextlib.suppress(AssertionError, RuntimeError, ValueError):  # no association
        return store(settings, file, tls=tls).get("Status") == 0
    return False


def write_settings(folder, settings, more=""):
    tls = settings.receiver.tls
    paths = {"certificate": tls.certificate, "key": tls.key, "ca": tls.ca} if tls else {}
    receiver = f'[receiver]\nhost = "127.0.0.1"\nport = {settings.receiver.port}\n'
    if paths:
        receiver += "[receiver.tls]\n" + "".join(f'{k} = "{v}"\n' for k, v in paths.items())
    file = folder / "node.toml"
    file.write_text(f'spool = "{settings.spool}"\n{receiver}[queue]\nmin_free_mb = 1\n{more}')
    return file


def test_no_kill_loses_or_doubles_an_image(tmp_path, small_bundle, tally):
    archive, rng, settings = Archive(), random.Random(21), node_settings(tmp_path)
    sent = tmp_path / "sent"
    sent.mkdir()
    with server(store=archive.keep) as port:
        file = write_settings(
            tmp_path,
            settings,
            # A kill from outside is not the image's fault, so that it is tried more than thrice.
            f'[engine]\nbundle = "{small_bundle.path}"\ntarget = "portable"\nthreads = 1\n'
            "attempts = 100\n[sending]\nretry_s = 0.1\nlongest_retry_s = 1\n"
            f'[destinations.pacs]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {port}\n'
            f'ae_title = "{TITLE}"\nforward_original = true\n',
        )
        unit = Unit(settings, sent)
        with processes(file) as running:
            unit.start()
            killed = collections.Counter()
            for number in range(KILLS):
                role = ROLES[number % len(ROLES)]
                await_a_moment(running[role], rng)
                running[role].kill_and_restart()
                killed[role] += 1
            unit.finish()
            expected = OBJECTS * len(unit.stored)
            eventually(lambda: len(archive.times) >= expected, patience=PATIENCE_S)
            # What is still entered as waiting would be sent again.
            eventually(lambda: is_all_sent(settings, len(unit.stored)), patience=PATIENCE_S)
    repeats = sum(archive.times.values()) - len(archive.times)
    assert all(len(contents) == 1 for contents in archive.contents.values())
    assert set(unit.stored) <= set(archive.times)
    assert not list((settings.folder / "dead").iterdir())
    note = ", ".join(f"{role} {count}" for role, count in killed.items())
    tally("kill -9 of the node's processes", sum(killed.values()), KILLS, note)
    note = f"objects of {len(unit.stored)} images; {unit.failures} sendings by the unit failed,"
    note += f" {repeats} objects came again with the same UID and bytes"
    tally("the node sends each object, under one UID", len(archive.times), expected, note)


def await_a_moment(process, rng):
    """Wait until a drawn moment: of the start in one case of four, else while it works."""
    if rng.random() < 0.25:
        time.sleep(rng.uniform(0, 2))
        return
    deadline = time.monotonic() + 10  # a sender without work says nothing
    while not process.lines and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.5))


def is_all_sent(settings, count):
    from orthoedge.clinic.spool.spool import Spool
    from orthoedge.clinic.spool.status import count_states

    spool = Spool(settings.folder, settings.queue)
    try:
        found = {(each.what, each.state): each.count for each in count_states(spool)}
    finally:
        spool.close()
    return found == {("image", "sent"): count, ("pacs", "sent"): OBJECTS * count}


# What a peer sends first and then byte by byte; None for nothing more.
PEERS = {
    "idle": (b"", None),
    "half a PDU header": (b"\x01\0\0", None),
    "half an association request": (b"\x01\0\0\0\0\xff\0\x01", None),
    "trickling": (b"\x01\0\0\0\xff\xff", b"\0"),
}
TLS_PEERS = {
    "silent in TLS": (b"", None),
    "half a record header": (b"\x16\x03\x01", None),
    "half a ClientHello": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", None),
    "trickling": (b"\x16\x03\x01\x02\0", b"\x01"),
}


class Crowd(threading.Thread):
    """Hostile peers in every form, each of which connects again once it is closed."""

    def __init__(self, port, forms):
        super().__init__(daemon=True)
        self._port = port
        self._forms = list(itertools.islice(itertools.cycle(forms.values()), HOSTILE))
        self._sockets = [None] * HOSTILE
        self._end = threading.Event()
        self.has_met = threading.Event()
        self.connections = 0

    def run(self):
        while not self._end.is_set():
            for place, (first, more) in enumerate(self._forms):
                with contextlib.suppress(OSError):
                    self._step(place, first, more)
            self.has_met.set()
            self._end.wait(0.1)
        for peer in filter(None, self._sockets):
            peer.close()

    def _step(self, place, first, more):
        peer = self._sockets[place]
        if peer is not None and is_closed(peer):
            peer.close()
            peer = None
        if peer is None:
            peer = socket.create_connection(("127.0.0.1", self._port), 10)
            self._sockets[place] = peer
            self.connections += 1
            peer.sendall(first)
        elif more:
            peer.sendall(more)

    def finish(self):
        self._end.set()
        self.join()


@pytest.mark.parametrize("way", ["TCP", "TLS"])
def test_hostile_peers_keep_no_honest_sender_out(tmp_path, tally, way):
    tls, changes = None, {}
    if way == "TLS":
        import ssl

        from orthoedge.clinic.settings import ServerTls

        write_certificates(tmp_path)
        ca, own = tmp_path / "ca.pem", [tmp_path / f"client.{kind}" for kind in ("pem", "key")]
        paths = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}
        changes["tls"] = ServerTls(**{k: str(tmp_path / name) for k, name in paths.items()})
        tls = ssl.create_default_context(cafile=str(ca))
        tls.load_cert_chain(*own)
    settings = node_settings(tmp_path, **changes)
    served, refused, slowest = 0, 0, 0.0
    with processes(write_settings(tmp_path, settings), ["receiver"]):
        wait_for_port(settings.receiver.port)
        crowd = Crowd(settings.receiver.port, TLS_PEERS if tls else PEERS)
        crowd.start()
        try:
            assert crowd.has_met.wait(60)
            for number in range(STORES):
                file = image(tmp_path, f"1.2.{number}")
                began = time.monotonic()
                for _ in range(TRIES):
                    if is_stored(settings, file, tls):
                        served += 1
                        break
                    refused += 1
                    time.sleep(0.25)
                slowest = max(slowest, time.monotonic() - began)
        finally:
            crowd.finish()
    note = f"images, {HOSTILE} hostile peers, {crowd.connections} connections of them;"
    note += f" slowest answer {slowest:.2f} s, {refused} associations refused before"
    tally(f"an honest sender is served over {way}", served, STORES, note)
