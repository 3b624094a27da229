"""Peers to send to: DICOM servers whose answers a test chooses, and dcmtk's storescp."""

import contextlib
import functools
import socket
import subprocess
import threading
import time

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.results import encode_result, make_result
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.images import source
from tests.helpers.clinic.programs import require

TITLE = "ARCHIVE"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5")
"""Uncompressed, JPEG 2000 and RLE, each without loss."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_closed(peer):
    """Whether the other side of a socket that receives nothing has closed it."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.settimeout(10)


def destination(port, **changes):
    """A DICOM destination on this machine."""
    given = {"host": "127.0.0.1", "port": port, "ae_title": TITLE, "timeout_s": 30.0, **changes}
    return Destination(kind="dicom", **given)


def result_file(folder, kind, changes=None):
    """A result on disk."""
    file = folder / f"{kind}.dcm"
    file.write_bytes(encoded(kind) if changes is None else encode(kind, changes))
    return file


def encode(kind, changes=None):
    """The content of a result's file."""
    return encode_result(make_result(kind, source(changes), answer()))


encoded = functools.cache(encode)


@contextlib.contextmanager
def server(
    *,
    store=lambda event: 0,
    classes=None,
    syntaxes=SYNTAXES,
    handlers=(),
    prepare=lambda entity: None,
    tls=None,
):
    """A pynetdicom server that answers C-STORE by `store`; its port."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.presentation import build_context

    entity = AE(TITLE)
    contexts = AllStoragePresentationContexts if classes is None else map(build_context, classes)
    for context in contexts:
        entity.add_supported_context(context.abstract_syntax, list(syntaxes))
    entity.add_supported_context("1.2.840.10008.1.1")
    prepare(entity)
    running = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=tls,
        evt_handlers=[(evt.EVT_C_STORE, store), *handlers],
    )
    try:
        yield running.socket.getsockname()[1]
    finally:
        running.shutdown()


@contextlib.contextmanager
def storescp(folder, *options):
    """dcmtk's storescp, which writes what it gets into `folder`; its port."""
    port = free_port()
    command = [require("storescp"), "-aet", TITLE, "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def mute(first=b""):
    """A TCP server that says `first` to each who connects, and then nothing; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                connection.sendall(first)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in accepted:
            connection.close()


def wait_for_port(port, patience=60.0):
    """Return once something listens."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")
