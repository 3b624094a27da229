"""No peer keeps an honest sender out: idle, half-open, silent in TLS, or sending byte by byte."""

import contextlib
import socket
import struct

import pytest

from tests.helpers.clinic.nodes import (
    Lines,
    association,
    echo,
    eventually,
    image,
    node_settings,
    receiver,
    states,
    store,
)
from tests.helpers.clinic.peers import is_closed

PLACES = 4


@contextlib.contextmanager
def held(settings, count, first=b"", address="127.0.0.1"):
    """Connections that send `first`, and then nothing."""
    sockets = []
    try:
        for _ in range(count):
            peer = socket.create_connection(
                ("127.0.0.1", settings.receiver.port), source_address=(address, 0)
            )
            peer.sendall(first)
            sockets.append(peer)
        yield sockets
    finally:
        for peer in sockets:
            peer.close()


def crowded(tmp_path, **changes):
    return node_settings(
        tmp_path, max_associations=PLACES, max_per_peer=PLACES, idle_s=600, stall_s=600, **changes
    )


# Nothing, half a PDU header, and a header of an association request without the rest.
SILENT = [b"", b"\x01\0\0\0", b"\x01\0\0\0\0\xff"]


@pytest.mark.parametrize("first", SILENT)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_silent_connections_in_every_place_give_way(tmp_path, first, address):
    settings = crowded(tmp_path, negotiation_s=600)
    with receiver(settings) as spool, held(settings, PLACES, first, address):
        assert echo(settings) == 0
        assert store(settings, image(tmp_path)).Status == 0
        assert states(spool)[0] == {"1.2.3": "received"}


def test_idle_associations_in_every_place_give_way(tmp_path):
    settings = crowded(tmp_path)
    with receiver(settings), contextlib.ExitStack() as stack:
        opened = (association(settings, is_released=False) for _ in range(PLACES))
        idle = [stack.enter_context(each) for each in opened]
        assert all(sender.is_established for sender in idle)
        assert echo(settings) == 0


def test_an_association_that_stops_within_a_pdu_gives_way(tmp_path):
    settings = crowded(tmp_path)
    with receiver(settings), contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            sender = stack.enter_context(association(settings, is_released=False))
            sender.dul.socket.socket.sendall(b"\x04\0\0\0")
        assert echo(settings) == 0


def test_nothing_is_kept_of_connections_that_gave_way(tmp_path):
    settings = crowded(tmp_path, negotiation_s=600)
    with receiver(settings) as spool:
        door = spool.server.door
        with held(settings, 10 * PLACES, b"\x01\0\0\0"):
            assert echo(settings) == 0
        eventually(lambda: door.close_silent() or not (door._connections or door._associations))


def test_more_silent_connections_than_there_can_be_let_an_honest_one_in(tmp_path):
    settings = crowded(tmp_path, negotiation_s=600)
    with receiver(settings), held(settings, 10 * PLACES, b"\x01\0\0\0"):
        assert echo(settings) == 0


@pytest.mark.parametrize("first", SILENT)
def test_what_is_no_association_in_time_is_closed(tmp_path, first):
    settings = node_settings(tmp_path, negotiation_s=0.3, stall_s=600)
    with receiver(settings), held(settings, 2, first) as sockets:
        eventually(lambda: all(map(is_closed, sockets)))


def test_a_connection_without_a_byte_within_a_pdu_is_closed(tmp_path):
    settings = node_settings(tmp_path, negotiation_s=600, stall_s=0.3, idle_s=600)
    with receiver(settings), held(settings, 2, b"\x01\0\0\0") as sockets:
        eventually(lambda: all(map(is_closed, sockets)))


def test_a_pdu_byte_by_byte_is_closed_in_the_end(tmp_path):
    settings = node_settings(tmp_path, negotiation_s=0.5, stall_s=600, idle_s=600)
    with receiver(settings), held(settings, 1, b"\x01\0\0\0\0\xff") as (peer,):

        def one_more():
            with contextlib.suppress(OSError):
                peer.setblocking(True)
                peer.sendall(b"\0")
            return is_closed(peer)

        eventually(one_more)


def test_an_idle_association_is_closed(tmp_path):
    settings = node_settings(tmp_path, idle_s=0.5)
    with receiver(settings), association(settings) as sender:
        eventually(lambda: not sender.is_established)


def test_a_pdu_of_gigabytes_is_not_read(tmp_path):
    settings = node_settings(tmp_path, negotiation_s=600, stall_s=600)
    first = b"\x01\0" + struct.pack(">I", 2**32 - 1) + bytes(100)
    with receiver(settings), held(settings, 1, first) as sockets:
        eventually(lambda: all(map(is_closed, sockets)))


def test_a_command_without_end_is_aborted(tmp_path):
    settings = node_settings(tmp_path)
    lines = Lines()
    with receiver(settings, lines), association(settings) as sender:
        fragment = struct.pack(">IBB", 60_002, 1, 1) + bytes(60_000)  # of a command, not the last
        pdu = b"\x04\0" + struct.pack(">I", len(fragment)) + fragment
        for _ in range(2):
            sender.dul.socket.socket.sendall(pdu)
        eventually(lambda: not sender.is_established)
    assert "association ended: not a message of DICOM" in lines.events()


def test_a_peer_beyond_its_connections_is_rejected_while_they_are_in_use(tmp_path):
    settings = node_settings(tmp_path, max_per_peer=1, stall_s=600)
    lines = Lines()
    with receiver(settings, lines), association(settings, is_released=False) as sender:
        # A message has begun, so that this association does not give way.
        fragment = struct.pack(">IBB", 3, 1, 1) + b"\0"
        sender.dul.socket.socket.sendall(b"\x04\0" + struct.pack(">I", 7) + fragment)
        eventually(lambda: echo(settings) is None)
        with association(settings) as other:
            assert other.acceptor.primitive.reason_str == "Local limit exceeded"
        assert sender.is_established
    assert "association rejected: all places are taken" in lines.events()
