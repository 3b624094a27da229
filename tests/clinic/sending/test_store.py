"""C-STORE: what arrives, and what is said of what does not."""

import functools
import threading

import numpy as np
import pydicom
import pytest

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.sending import DestinationError, echo, send
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.peers import destination, free_port, mute, result_file, server, storescp

SC = "1.2.840.10008.5.1.4.1.1.7"


def states(outcomes):
    return [outcome.state for outcome in outcomes]


def test_every_kind_and_the_original_arrive_at_storescp_unchanged(tmp_path):
    original = tmp_path / "original.dcm"
    original.write_bytes(image_file())
    files = [*(result_file(tmp_path, kind) for kind in RESULT_KINDS), original]
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    with storescp(arrived, "+xa") as port:
        outcomes = send(destination(port), files, "ORTHOEDGE")
    assert states(outcomes) == ["stored"] * len(files), outcomes
    received = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, arrived.iterdir())}
    for file, outcome in zip(files, outcomes, strict=True):
        assert outcome.file == file
        assert received[outcome.sop_instance_uid] == pydicom.dcmread(file)


def test_a_peer_without_jpeg_2000_gets_the_picture_uncompressed(tmp_path):
    file = result_file(tmp_path, "picture")
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    with storescp(arrived) as port:
        (outcome,) = send(destination(port), [file], "ORTHOEDGE")
    assert outcome.state == "stored", outcome
    (received,) = map(pydicom.dcmread, arrived.iterdir())
    sent = pydicom.dcmread(file)
    assert received.SOPInstanceUID == sent.SOPInstanceUID
    assert not received.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(received.pixel_array, sent.pixel_array)


def test_a_peer_that_knows_the_default_syntax_alone_gets_everything(tmp_path):
    original = tmp_path / "original.dcm"
    original.write_bytes(image_file())
    files = [*(result_file(tmp_path, kind) for kind in RESULT_KINDS), original]
    received = []

    def store(event):
        received.append(event.dataset)
        return 0

    with server(store=store, syntaxes=["1.2.840.10008.1.2"]) as port:
        outcomes = send(destination(port), files, "ORTHOEDGE")
    assert states(outcomes) == ["stored"] * len(files), outcomes
    for got, file in zip(received, files, strict=True):
        sent = pydicom.dcmread(file)
        assert got.SOPInstanceUID == sent.SOPInstanceUID
        assert got.PatientName == sent.PatientName


def test_a_damaged_file_is_refused_alone(tmp_path):
    picture, report = (result_file(tmp_path, kind) for kind in ("picture", "report"))
    picture.write_bytes(picture.read_bytes()[:-20_000])
    with server(syntaxes=["1.2.840.10008.1.2"]) as port:
        outcomes = send(destination(port), [picture, report], "ORTHOEDGE")
    assert states(outcomes) == ["refused", "stored"], outcomes


def test_an_image_from_elsewhere_is_not_decoded_to_suit_a_peer(tmp_path):
    picture = pydicom.dcmread(result_file(tmp_path, "picture"))
    picture.Manufacturer = "another maker"
    picture.save_as(tmp_path / "foreign.dcm")
    with storescp(tmp_path) as port:
        (outcome,) = send(destination(port), [tmp_path / "foreign.dcm"], "ORTHOEDGE")
    assert outcome.state == "refused"
    assert "RLE" in outcome.reason


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, "stored"),
        (0xB000, "stored"),  # elements were coerced
        (0x0111, "stored"),  # a duplicate: it has it
        (0xA700, "retry"),  # out of resources
        (0x0110, "retry"),
        (0x0124, "retry"),  # not authorized: the peer's settings
        (0xA900, "refused"),
        (0xC000, "refused"),
        (0x0122, "refused"),
    ],
)
def test_a_status_decides_whether_to_try_again(tmp_path, status, state):
    file = result_file(tmp_path, "report")
    with server(store=lambda event: status) as port:
        (outcome,) = send(destination(port), [file], "ORTHOEDGE")
    assert outcome.state == state
    assert status == 0 or f"0x{status:04X}" in outcome.reason


def test_one_refused_object_does_not_stop_the_others(tmp_path):
    files = [result_file(tmp_path, kind) for kind in ("report", "picture", "contour")]
    with server(classes=[SC]) as port:
        outcomes = send(destination(port), files, "ORTHOEDGE")
    assert states(outcomes) == ["refused", "stored", "refused"]
    assert "Comprehensive 3D SR" in outcomes[0].reason


def test_a_file_that_is_no_dicom_file_is_refused_alone(tmp_path):
    text, file = tmp_path / "text.dcm", result_file(tmp_path, "report")
    text.write_text("no DICOM")
    with server() as port:
        outcomes = send(destination(port), [text, tmp_path / "absent.dcm", file], "ORTHOEDGE")
    assert states(outcomes) == ["refused", "refused", "stored"]


def test_a_peer_that_is_down_means_a_retry_for_every_file(tmp_path):
    files = [result_file(tmp_path, kind) for kind in ("report", "contour")]
    outcomes = send(destination(free_port()), files, "ORTHOEDGE")
    assert states(outcomes) == ["retry", "retry"]
    assert [outcome.file for outcome in outcomes] == files


def test_a_connection_to_itself_is_told_as_the_closed_port_that_it_is(tmp_path, monkeypatch):
    from pynetdicom import AE

    port = free_port()
    associate = functools.partialmethod(AE.associate, bind_address=("127.0.0.1", port))
    monkeypatch.setattr(AE, "associate", associate)
    (outcome,) = send(destination(port), [result_file(tmp_path, "report")], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert "cannot connect: Connection refused" in outcome.reason


def test_a_peer_of_another_title_means_a_retry_that_says_so(tmp_path):
    def strict(entity):
        entity.require_called_aet = True

    with server(prepare=strict) as port:
        file = result_file(tmp_path, "report")
        (outcome,) = send(destination(port, ae_title="OTHER"), [file], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert "rejected" in outcome.reason


# A-ASSOCIATE-AC whose header ends in the middle, and an abort that never comes.
@pytest.mark.parametrize("first", [b"", b"\x02\0\0", b"\x02\0\0\0\x10\0"], ids=len)
def test_a_peer_that_stops_in_the_middle_is_left_after_the_timeout(tmp_path, first):
    file = result_file(tmp_path, "report")
    with mute(first) as port:
        (outcome,) = send(destination(port, timeout_s=1.0), [file], "ORTHOEDGE")
    assert outcome.state == "retry"


def test_a_peer_that_does_not_answer_c_store_is_left_after_the_timeout(tmp_path):
    done = threading.Event()

    def never(event):
        done.wait(30)
        return 0

    files = [result_file(tmp_path, kind) for kind in ("report", "contour")]
    with server(store=never) as port:
        outcomes = send(destination(port, timeout_s=1.0), files, "ORTHOEDGE")
        done.set()
    assert states(outcomes) == ["retry", "retry"]
    assert "no answer" in outcomes[0].reason


def test_more_files_than_one_association_takes_all_arrive(tmp_path):
    files, seen = [], []
    for number in range(45):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(image_file({0x00080018: ("UI", f"1.2.3.{number}")}))
        files.append(file)

    def store(event):
        seen.append(event.dataset.SOPInstanceUID)
        return 0

    with server(store=store) as port:
        outcomes = send(destination(port), files, "ORTHOEDGE")
    assert states(outcomes) == ["stored"] * 45
    assert len(set(seen)) == 45


def test_echo_succeeds_where_someone_answers_and_raises_where_no_one_does():
    with server() as port:
        echo(destination(port), "ORTHOEDGE")
    with pytest.raises(DestinationError, match="cannot connect"):
        echo(destination(port), "ORTHOEDGE")
