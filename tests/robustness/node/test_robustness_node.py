"""The node loses and doubles nothing where its processes are killed, and stays open to senders.

`ORTHOEDGE_NODE_KILLS` and `ORTHOEDGE_NODE_STORES` change how many kills and images there are.
"""

import collections
import contextlib
import itertools
import os
import random
import socket
import threading
import time

import pytest

from tests.helpers.clinic.campaign.processes import ROLES, processes
from tests.helpers.clinic.campaign.units import (
    OBJECTS,
    Archive,
    Unit,
    is_all_sent,
    is_stored,
    settings_text,
    write_settings,
)
from tests.helpers.clinic.certificates import write_certificates
from tests.helpers.clinic.nodes import eventually, image, node_settings
from tests.helpers.clinic.peers import is_closed, server, wait_for_port

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ORTHOEDGE_NODE_KILLS", "300"))
STORES = int(os.environ.get("ORTHOEDGE_NODE_STORES", "100"))
_RESULTS = "results"
HOSTILE = 40
TRIES = 8  # of the sender for an image, as units have them; how many were needed is printed
PATIENCE_S = 1200


def test_no_kill_loses_or_doubles_an_image(tmp_path, small_bundle, tally):
    archive, rng, settings = Archive(), random.Random(21), node_settings(tmp_path)
    sent = tmp_path / "sent"
    sent.mkdir()
    with server(store=archive.keep) as port:
        # A kill from outside is not the image's fault, so that it is tried more than thrice.
        more = settings_text(small_bundle, port, "attempts = 100\n")
        file = write_settings(tmp_path, settings, more)
        unit = Unit(settings, sent)
        with processes(file) as running:
            unit.start()
            killed = collections.Counter()
            for number in range(KILLS):
                role = (*ROLES, _RESULTS)[number % (len(ROLES) + 1)]
                process = running["worker" if role == _RESULTS else role]
                await_a_moment(process, rng)
                if role == _RESULTS:  # the worker starts another one
                    eventually(
                        lambda: process.kill_child("making.process"),  # noqa: B023
                        patience=PATIENCE_S,
                    )
                else:
                    process.kill_and_restart()
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
