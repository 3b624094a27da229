"""A real archive: what is sent is there, is found, reads back equal, and is committed to."""

import io
import queue

import cv2
import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt

from orthoedge.clinic.destination import RESULT_KINDS, Destination
from orthoedge.clinic.results import Answer, encode_result, make_result
from orthoedge.clinic.sending import (
    Reference,
    accept_commitment,
    commitment_handler,
    echo,
    request_commitment,
    send,
)
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.nodes import Lines
from tests.helpers.clinic.orthanc import TITLE, orthanc
from tests.helpers.clinic.peers import destination, result_file

pytestmark = pytest.mark.slow  # the archive takes seconds to start


@pytest.fixture(scope="module")
def reports():
    """The port of a node that takes reports, and the queue that they go to."""
    taken = queue.Queue()
    entity = AE("ORTHOEDGE")
    accept_commitment(entity)
    handler = commitment_handler(lambda *report: taken.put(report), Lines())
    running = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, handler)]
    )
    yield running.socket.getsockname()[1], taken
    running.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, reports):
    with orthanc(tmp_path_factory.mktemp("orthanc"), reports_to=reports[0]) as running:
        yield running


def files_of(folder, uid):
    """The four results and their image, of one study."""
    changes = {0x0020000D: ("UI", uid), 0x00080018: ("UI", f"{uid}.1.1")}
    image = folder / "image.dcm"
    image.write_bytes(image_file(changes))
    return [*(result_file(folder, kind, changes) for kind in RESULT_KINDS), image]


def check_stored(archive, files, study):
    """Each reads back equal, and QIDO finds the series of each kind."""
    for file in files:
        sent = pydicom.dcmread(file)
        assert pydicom.dcmread(io.BytesIO(archive.file(sent.SOPInstanceUID))) == sent
    series = archive.get(f"dicom-web/studies/{study}/series")
    assert {one["00080060"]["Value"][0] for one in series} == {"CR", "DOC", "OT", "PR", "SEG", "SR"}


def test_c_store_then_qido_then_commitment(tmp_path, archive, reports):
    files = files_of(tmp_path, "1.2.826.0.7.1")
    peer = destination(archive.dicom, ae_title=TITLE, commitment=True)
    echo(peer, "ORTHOEDGE")
    outcomes = send(peer, files, "ORTHOEDGE")
    assert [outcome.state for outcome in outcomes] == ["stored"] * len(files), outcomes
    check_stored(archive, files, "1.2.826.0.7.1")
    assert [o.state for o in send(peer, files, "ORTHOEDGE")] == ["stored"] * len(files)  # a repeat
    assert len(archive.get("dicom-web/studies/1.2.826.0.7.1/instances")) == len(files)

    references = [
        Reference(str(ds.SOPClassUID), str(ds.SOPInstanceUID))
        for ds in (pydicom.dcmread(file, stop_before_pixels=True) for file in files)
    ]
    transaction = request_commitment(peer, references, "ORTHOEDGE")
    reported, committed, failed = reports[1].get(timeout=60)
    assert reported == transaction
    assert set(committed) == {reference.sop_instance_uid for reference in references}
    assert failed == []


def test_commitment_to_what_was_never_sent_is_reported_as_failed(archive, reports):
    peer = destination(archive.dicom, ae_title=TITLE, commitment=True)
    invented = Reference("1.2.840.10008.5.1.4.1.1.7", "1.2.826.0.7.99")
    request_commitment(peer, [invented], "ORTHOEDGE")
    _, committed, failed = reports[1].get(timeout=60)
    assert committed == []
    assert failed == [("1.2.826.0.7.99", "no such object instance")]


def test_stow_then_qido(tmp_path, archive):
    files = files_of(tmp_path, "1.2.826.0.7.2")
    service = Destination(kind="dicomweb", url=archive.web)
    echo(service, "ORTHOEDGE")
    outcomes = send(service, files, "ORTHOEDGE")
    assert [outcome.state for outcome in outcomes] == ["stored"] * len(files), outcomes
    check_stored(archive, files, "1.2.826.0.7.2")


def test_the_archive_s_own_viewer_shows_the_picture_as_it_was_drawn(tmp_path, archive):
    picture = result_file(tmp_path, "picture", {0x0020000D: ("UI", "1.2.826.0.7.3")})
    send(destination(archive.dicom, ae_title=TITLE), [picture], "ORTHOEDGE")
    sent = pydicom.dcmread(picture)
    shown = cv2.imdecode(np.frombuffer(archive.preview(sent.SOPInstanceUID), np.uint8), -1)
    assert np.array_equal(cv2.cvtColor(shown, cv2.COLOR_BGR2RGB), sent.pixel_array)


def test_an_image_of_a_real_leg_goes_the_whole_way(tmp_path, archive):
    """The bundle inside the package answers a radiograph of pydicom-data."""
    from pydicom.data import get_testdata_file

    from orthoedge.targets import open_pipeline

    image = get_testdata_file("RG3_UNCR.dcm")
    radiograph, finding = open_pipeline().predict_with_image(image)
    header = pydicom.dcmread(image, stop_before_pixels=True)
    files = []
    for kind in RESULT_KINDS:
        result = make_result(kind, header, Answer(finding, radiograph))
        if result is not None:
            files.append(tmp_path / f"{kind}.dcm")
            files[-1].write_bytes(encode_result(result))
    outcomes = send(destination(archive.dicom, ae_title=TITLE), files, "ORTHOEDGE")
    assert {outcome.state for outcome in outcomes} == {"stored"}
    for file, outcome in zip(files, outcomes, strict=True):
        stored = pydicom.dcmread(io.BytesIO(archive.file(outcome.sop_instance_uid)))
        assert stored == pydicom.dcmread(file)
