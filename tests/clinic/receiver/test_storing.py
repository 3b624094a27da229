"""What is sent is kept as it came, once, before the sender hears of it; else it gets a status."""

import io
import shutil

import pydicom
import pytest

from orthoedge.clinic.receiver.contexts import ANSWERED_CLASSES, contexts
from orthoedge.clinic.settings import QueueSettings
from orthoedge.runtime.dicom.encoding import READ_SYNTAXES
from orthoedge.runtime.errors import ConfigError, DataError
from tests.helpers.clinic.images import image_file
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
from tests.helpers.clinic.programs import run

OUT_OF_RESOURCES, INVALID_INSTANCE, CANNOT_UNDERSTAND = 0xA700, 0x0117, 0xC000


@pytest.fixture
def settings(tmp_path):
    return node_settings(tmp_path)


def kept(spool):
    """Data set of the only image, as bytes, and its sender."""
    item = spool.next_image()
    file = pydicom.dcmread(spool.folder / item.file)
    return file, item.calling_ae


def test_it_answers_echo(settings):
    with receiver(settings):
        assert echo(settings) == 0


def test_echoscu_and_storescu_are_served(settings, tmp_path):
    file = image(tmp_path)
    port = str(settings.receiver.port)
    with receiver(settings) as spool:
        assert run("echoscu", "-aec", settings.ae_title, "127.0.0.1", port)[0] == 0
        sent = run("storescu", "-aet", "ROOM7", "-aec", settings.ae_title, "127.0.0.1", port, file)
        assert sent[0] == 0, sent[1]
        dataset, calling_ae = kept(spool)
    assert calling_ae == "ROOM7"
    assert dataset.PixelData == pydicom.dcmread(file).PixelData


def test_the_data_set_stays_as_it_was_sent(settings, tmp_path):
    private = {0x00090010: ("LO", "MAKER"), 0x00091001: ("OB", b"\x00\xff" * 40)}
    file = image(tmp_path, changes={0x00080005: ("CS", "ISO_IR 192"), **private})
    with receiver(settings) as spool:
        assert store(settings, file).Status == 0
        stored = (spool.folder / spool.next_image().file).read_bytes()
    content = file.read_bytes()
    start = content.index(b"\x08\x00\x05\x00CS")
    assert stored.endswith(content[start:])


def test_a_retry_is_answered_with_success_and_kept_once(settings, tmp_path):
    file = image(tmp_path)
    lines = Lines()
    with receiver(settings, lines) as spool:
        assert [store(settings, file).Status for _ in range(3)] == [0, 0, 0]
        assert states(spool)[0] == {"1.2.3": "received"}
        assert len(list(spool.images.iterdir())) == 1
        eventually(lambda: not list(spool.incoming.iterdir()))
    assert lines.events() == ["image received", *["image received again"] * 2]


def test_every_class_is_accepted_in_every_syntax_that_is_read():
    accepted = {context.abstract_syntax: context.transfer_syntax for context in contexts()}
    for uid in ANSWERED_CLASSES:
        assert set(accepted[uid]) == set(READ_SYNTAXES)


def test_another_class_is_refused_unless_the_settings_ask_for_it(tmp_path):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    file = image(tmp_path, changes={0x00080016: ("UI", ct)})
    settings = node_settings(tmp_path)
    with receiver(settings), association(settings, sop_class=ct) as sender:
        assert [c.abstract_syntax for c in sender.accepted_contexts] == ["1.2.840.10008.1.1"]
    settings = node_settings(tmp_path, other_classes=(ct,))
    with receiver(settings) as spool:
        assert store(settings, file, sop_class=ct).Status == 0
        assert spool.next_image().sop_class == ct


def test_a_class_of_no_standard_is_named():
    with pytest.raises(ConfigError, match=r"other_classes: 1\.2\.3 is no storage class"):
        contexts(["1.2.3"])


def test_a_uid_that_is_none_is_refused_with_a_status(settings):
    with receiver(settings) as spool:
        dataset = pydicom.dcmread(io.BytesIO(image_file()))
        dataset.SOPInstanceUID = "../../etc/1"
        assert store(settings, dataset).Status == INVALID_INSTANCE
        assert list(spool.images.iterdir()) == []
        assert echo(settings) == 0


def test_an_object_over_the_limit_is_refused_with_the_limit(tmp_path):
    settings = node_settings(tmp_path, max_object_mb=0.01)
    with receiver(settings) as spool:
        status = store(settings, image(tmp_path))
        assert status.Status == CANNOT_UNDERSTAND
        assert status.ErrorComment == "object larger than the limit of 0.01 MiB"
        assert not list(spool.images.iterdir())
        eventually(lambda: not list(spool.incoming.iterdir()))
        assert echo(settings) == 0


def test_a_full_queue_refuses_and_keeps_what_it_has(tmp_path):
    settings = node_settings(tmp_path, queue=QueueSettings(max_images=1, min_free_mb=1))
    with receiver(settings) as spool:
        assert store(settings, image(tmp_path, "1.1")).Status == 0
        spool._checked_at = float("-inf")
        status = store(settings, image(tmp_path, "1.2"))
        assert (status.Status, status.ErrorComment) == (
            OUT_OF_RESOURCES,
            "queue full: 1 images wait",
        )
        assert states(spool)[0] == {"1.1": "received"}


def large(folder, uid="1.2.3"):
    """A file of 3 MB."""
    return image(folder, uid, {0x00091001: ("OB", bytes(3_000_000))})


def test_a_full_disk_while_an_object_comes_is_a_status_and_the_retry_succeeds(
    settings, tmp_path, small_files
):
    file = large(tmp_path)
    with receiver(settings) as spool:
        with association(settings) as sender:
            assert sender.is_established
            with small_files(1_000_000):
                status = sender.send_c_store(file)
            assert status.Status == OUT_OF_RESOURCES
            assert status.ErrorComment.startswith("cannot write: ")
            assert states(spool)[0] == {}
            assert not list(spool.images.iterdir())
            assert sender.send_c_store(file).Status == 0  # on the same association
        assert states(spool)[0] == {"1.2.3": "received"}
        eventually(lambda: not list(spool.incoming.iterdir()))


def test_a_disk_that_is_full_before_the_first_byte_is_a_status(settings, tmp_path):
    with receiver(settings) as spool:
        shutil.rmtree(spool.incoming)  # so that no file can be made there
        assert store(settings, image(tmp_path)).Status == OUT_OF_RESOURCES
        spool.incoming.mkdir()
        assert store(settings, image(tmp_path)).Status == 0


def failing_query(error):
    def read(*_):
        raise error

    return read


@pytest.mark.parametrize(
    ("owner", "name", "fails"),
    [
        ("index", "read", failing_query(OSError(5, "the spool's index: disk I/O error"))),
        ("index", "read", failing_query(OSError(5, "the spool's index: database is locked"))),
        ("index", "read", failing_query(DataError("index.sqlite: malformed"))),
        (shutil, "disk_usage", failing_query(OSError(116, "Stale file handle"))),
        (shutil, "disk_usage", failing_query(PermissionError(13, "Permission denied"))),
    ],
)
def test_a_queue_that_cannot_be_looked_at_is_a_status_and_the_association_stays(
    settings, tmp_path, monkeypatch, owner, name, fails
):
    file = image(tmp_path)
    with receiver(settings) as spool, association(settings) as sender:
        with monkeypatch.context() as patch:
            patch.setattr(spool.index if owner == "index" else owner, name, fails)
            status = sender.send_c_store(file)
            assert status.Status == OUT_OF_RESOURCES
            assert status.ErrorComment.startswith("cannot write: ")
        assert sender.send_c_store(file).Status == 0
        assert states(spool)[0] == {"1.2.3": "received"}


@pytest.mark.parametrize("step", ["_enter", "_has"])
def test_an_index_that_cannot_be_written_is_a_status_and_the_retry_one_entry(
    settings, tmp_path, monkeypatch, step
):
    def fails(*_):
        raise OSError(28, "No space left on device")

    file = image(tmp_path)
    with receiver(settings) as spool:
        with monkeypatch.context() as patch:
            patch.setattr(spool, step, fails)
            status = store(settings, file)
            assert status.Status == OUT_OF_RESOURCES
            assert status.ErrorComment == "cannot write: No space left on device"
        assert store(settings, file).Status == 0
        assert len(list(spool.images.iterdir())) == 1
        eventually(lambda: not list(spool.incoming.iterdir()))


def test_a_defect_of_the_receiver_is_a_status_too(settings, tmp_path, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError

    with receiver(settings) as spool:
        monkeypatch.setattr(spool, "add_image", fails)
        assert store(settings, image(tmp_path)).Status == 0x0110


def test_a_sender_that_breaks_off_leaves_nothing(settings, tmp_path):
    file = large(tmp_path)
    with receiver(settings) as spool:
        with association(settings) as sender:
            send, sent = sender.dul._send, []

            def breaks_off(pdu):
                send(pdu)
                sent.append(pdu)
                if len(sent) == 5:  # of more than 20
                    eventually(lambda: list(spool.incoming.iterdir()))
                    sender.dul.socket.close()

            sender.dul._send = breaks_off
            sender.dimse_timeout = 5
            sender.send_c_store(file)
            sender.abort()
        eventually(lambda: not list(spool.incoming.iterdir()))
        assert states(spool)[0] == {}
        assert echo(settings) == 0


def test_a_calling_ae_that_is_not_listed_is_rejected(tmp_path):
    settings = node_settings(tmp_path, calling_ae=("ROOM1",), called_ae=True)
    with receiver(settings):
        assert echo(settings, title="ROOM1") == 0
        with association(settings, title="OTHER") as sender:
            assert sender.is_rejected
