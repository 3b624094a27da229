"""The node loses and doubles nothing where its processes are killed, and stays open to senders.

`ORTHOEDGE_NODE_KILLS` and `ORTHOEDGE_NODE_STORES` change how many kills and images there are.
"""

import collections
import contextlib
import itertools
import os
import random
import socket
import ssl
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
from tests.helpers.clinic.peers import server, wait_for_port

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ORTHOEDGE_NODE_KILLS", "300"))
STORES = int(os.environ.get("ORTHOEDGE_NODE_STORES", "100"))
_RESULTS = "results"
HOSTILE = 40
PROMISED_S = 2  # from the request of the association to the answer, refusals and pauses included
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


def item(kind, content):
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


def association_request():
    """An A-ASSOCIATE-RQ for Verification (PS3.8 9.3.2), which the node accepts."""
    context = item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, (16382).to_bytes(4, "big")) + item(0x52, b"1.2.3")
    body = b"\0\x01\0\0" + b"ORTHOEDGE".ljust(16) + b"CROWD".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    body += item(0x20, bytes([1, 0, 0, 0]) + context) + item(0x50, user)
    return b"\x01\0" + len(body).to_bytes(4, "big") + body


ACCEPTED = 2  # first byte of an A-ASSOCIATE-AC
# What a peer sends first and then byte by byte, and whether after a whole handshake of TLS.
PEERS = {
    "idle": (b"", b"", False),
    "half a PDU header": (b"\x01\0\0", b"", False),
    "half an association request": (b"\x01\0\0\0\0\xff\0\x01", b"", False),
    "trickling": (b"\x01\0\0\0\xff\xff", b"\0", False),
    "idle association": (association_request(), b"", True),
}
TLS_PEERS = {
    "silent in TLS": (b"", b"", False),
    "half a record header": (b"\x16\x03\x01", b"", False),
    "half a ClientHello": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"", False),
    "trickling": (b"\x16\x03\x01\x02\0", b"\x01", False),
    "idle association": (association_request(), b"", True),
}


class Crowd(threading.Thread):
    """Hostile peers in every form, each of which connects again once it is closed."""

    def __init__(self, port, forms, tls):
        super().__init__(daemon=True)
        self._port = port
        self._tls = tls
        self._forms = list(itertools.islice(itertools.cycle(forms.values()), HOSTILE))
        self._sockets = [None] * HOSTILE
        self._end = threading.Event()
        self.has_met = threading.Event()
        self.connections = 0
        self.accepted = 0

    def run(self):
        while not self._end.is_set():
            for place, form in enumerate(self._forms):
                with contextlib.suppress(OSError):
                    self._step(place, *form)
            self.has_met.set()
            self._end.wait(0.1)
        for peer in filter(None, self._sockets):
            peer.close()

    def _step(self, place, first, more, in_tls):
        peer = self._sockets[place]
        if peer is not None and self._is_closed(peer):
            peer.close()
            peer = self._sockets[place] = None
        if peer is None:
            peer = socket.create_connection(("127.0.0.1", self._port), 10)
            self.connections += 1
            if in_tls and self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_hostname="localhost")
            self._sockets[place] = peer
            peer.sendall(first)
        elif more:
            peer.sendall(more)

    def _is_closed(self, peer):
        """Whether the node has closed a connection; counts the associations that it accepts."""
        peer.setblocking(False)
        try:
            while data := peer.recv(4096):
                self.accepted += data[0] == ACCEPTED
            return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            peer.settimeout(10)

    def finish(self):
        self._end.set()
        self.join()


@pytest.mark.parametrize("way", ["TCP", "TLS"])
def test_hostile_peers_keep_no_honest_sender_out(tmp_path, tally, way):
    tls, changes = None, {}
    if way == "TLS":
        from orthoedge.clinic.settings import ServerTls

        write_certificates(tmp_path)
        ca, own = tmp_path / "ca.pem", [tmp_path / f"client.{kind}" for kind in ("pem", "key")]
        paths = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}
        changes["tls"] = ServerTls(**{k: str(tmp_path / name) for k, name in paths.items()})
        tls = ssl.create_default_context(cafile=str(ca))
        tls.load_cert_chain(*own)
    settings = node_settings(tmp_path, **changes)
    in_time, refused, slowest = 0, 0, 0.0
    with processes(write_settings(tmp_path, settings), ["receiver"]):
        wait_for_port(settings.receiver.port)
        crowd = Crowd(settings.receiver.port, TLS_PEERS if tls else PEERS, tls)
        crowd.start()
        try:
            assert crowd.has_met.wait(60)
            for number in range(STORES):
                file = image(tmp_path, f"1.2.{number}")
                began = time.monotonic()
                for _ in range(TRIES):
                    if is_stored(settings, file, tls):
                        in_time += time.monotonic() - began <= PROMISED_S
                        break
                    refused += 1
                    time.sleep(0.25)
                slowest = max(slowest, time.monotonic() - began)
        finally:
            crowd.finish()
    assert crowd.accepted
    note = f"images, {HOSTILE} hostile peers, {crowd.connections} connections of them,"
    note += f" {crowd.accepted} of these idle associations;"
    note += f" slowest answer {slowest:.2f} s, {refused} associations refused before"
    promise = f"an honest sender is served over {way} within {PROMISED_S} s"
    tally(promise, in_time, STORES, note)
