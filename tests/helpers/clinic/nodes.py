"""Parts of a node in this process, and what sends to them."""

import contextlib
import logging
import tempfile
import time

from orthoedge.clinic.receiver.serve import start
from orthoedge.clinic.sending.association import close_every_socket
from orthoedge.clinic.settings import NodeSettings, QueueSettings, ReceiverSettings, SendingSettings
from orthoedge.clinic.spool.records import NewImage
from orthoedge.clinic.spool.spool import Spool
from tests.helpers.clinic.images import CR, image_file
from tests.helpers.clinic.peers import free_port
from tests.helpers.hostile.dicom_bytes import EXPLICIT

UID = 0x00080018


class Lines:
    """A log that keeps its lines."""

    def __init__(self):
        self.lines = []

    def __call__(self, event, **facts):
        self.lines.append({"event": event, **facts})

    def events(self):
        return [line["event"] for line in self.lines]


def node_settings(folder, *, queue=None, destinations=None, sending=None, **receiver):
    """Settings of a node whose spool is in `folder`, on a free port of the loopback.

    A test is not about how long a busy machine takes to negotiate, unless it says so.
    """
    given = {"host": "127.0.0.1", "port": free_port(), "negotiation_s": 60.0, **receiver}
    return NodeSettings(
        spool=str(folder / "spool"),
        receiver=ReceiverSettings(**given),
        queue=queue or QueueSettings(min_free_mb=1),
        sending=sending or SendingSettings(retry_s=0.05, longest_retry_s=0.2),
        destinations=destinations or {},
    )


@contextlib.contextmanager
def receiver(settings, log=None):
    """A receiver in this process; its spool. pytest shows its log where a test fails."""
    from pynetdicom import _config

    log = log or Lines()

    logger = logging.getLogger("pynetdicom")
    before = tempfile.tempdir, logger.level, _config.LOG_HANDLER_LEVEL
    spool = Spool(settings.folder, settings.queue)
    server = start(settings, spool, log)
    spool.server = server
    try:
        yield spool
    finally:
        print(*log.lines, sep="\n")
        server.shutdown()
        server.close_connections()
        _config.STORE_RECV_CHUNKED_DATASET = False
        tempfile.tempdir, _config.LOG_HANDLER_LEVEL = before[0], before[2]
        logger.setLevel(before[1])
        spool.close()


def image(folder, uid="1.2.3", changes=None):
    """A file with a small radiograph of that SOP instance."""
    file = folder / f"{uid}.dcm"
    file.write_bytes(image_file({UID: ("UI", uid), **(changes or {})}))
    return file


@contextlib.contextmanager
def association(
    settings, *, sop_class=CR, title="ROOM1", tls=None, is_released=True, syntax=EXPLICIT
):
    """An established association with a receiver."""
    from pynetdicom import AE

    entity = AE(title)
    close_every_socket(entity)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    entity.add_requested_context(sop_class, [syntax])
    entity.add_requested_context("1.2.840.10008.1.1")
    port = settings.receiver.port
    established = entity.associate(
        "127.0.0.1", port, ae_title=settings.ae_title, tls_args=tls and (tls, "localhost")
    )
    try:
        yield established
    finally:
        if established.is_established:
            established.release() if is_released else established.abort()


def store(settings, file, **changes):
    """Status of a C-STORE, as a data set."""
    with association(settings, **changes) as sender:
        assert sender.is_established, f"rejected: {sender.is_rejected}"
        return sender.send_c_store(file)


def echo(settings, **changes):
    """Status of a C-ECHO; None if there was no association or no answer."""
    with association(settings, **changes) as sender:
        return sender.send_c_echo().get("Status") if sender.is_established else None


def states(spool):
    """State by UID of the images, and by destination and kind of the objects."""
    images = dict(spool.index.read("SELECT uid, state FROM images"))
    rows = spool.index.read("SELECT destination, kind, state FROM objects")
    return images, {(name, kind): state for name, kind, state in rows}


def set_back(spool, seconds):
    """Let that much time pass, as far as the index can tell."""
    with spool.index.transaction() as connection:
        connection.execute(
            "UPDATE images SET received_at = received_at - ?1, settled_at = settled_at - ?1",
            (seconds,),
        )
        connection.execute(
            "UPDATE objects SET next_try = next_try - ?1, ask_at = ask_at - ?1", (seconds,)
        )
        connection.execute("UPDATE destinations SET next_try = next_try - ?", (seconds,))


def eventually(holds, patience=60.0):
    """Wait until something holds; what it returned."""
    end = time.monotonic() + patience
    while not (value := holds()):
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)
    return value


def new_image(uid="1.2.3", calling_ae="ROOM1"):
    """What the receiver knows of a CR image."""
    return NewImage(uid, CR, calling_ae, "127.0.0.1")
