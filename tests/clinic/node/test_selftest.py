"""`orthoedge node selftest` follows an image to the destinations, and says where it got stuck."""

import http.server
import json
import re
import threading

import pydicom
import pytest

from orthoedge.clinic.answering import Worker
from orthoedge.clinic.destination import Destination, Rules
from orthoedge.clinic.node import _only_node
from orthoedge.clinic.operations.counters import read_counters
from orthoedge.clinic.selftest.arrival import ask_destination
from orthoedge.clinic.selftest.image import PATIENT_ID, make_image
from orthoedge.clinic.selftest.selftest import run_selftest
from orthoedge.clinic.sender import DestinationSender
from orthoedge.clinic.sending import DestinationError
from orthoedge.clinic.settings import ServerTls
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.nodes import Lines, node_settings, receiver
from tests.helpers.clinic.orthanc import TITLE as ORTHANC
from tests.helpers.clinic.orthanc import orthanc
from tests.helpers.clinic.peers import TITLE, free_port, server
from tests.helpers.clinic.programs import errors_of


@pytest.fixture(scope="module")
def parts(small_bundle, maker):
    """Of a worker."""
    return open_pipeline(small_bundle, target="portable"), maker


def test_self_tests_do_not_count_as_images(tmp_path, parts):
    settings = node_settings(tmp_path)
    follow(settings, parts)
    counters = read_counters(settings.worker_counters)
    assert (counters.decisions, counters.latest_scores) == ({}, [])


def follow(settings, parts, *, answers=True, wait_s=60.0, host="", count=1):
    """Steps of the self-test of a node whose parts run in this process."""
    with _only_node(settings), receiver(settings) as spool:
        stop = threading.Event()

        def work():
            worker = Worker(settings, spool, *parts, Lines())
            senders = [
                DestinationSender(name, destination, settings, spool, Lines())
                for name, destination in settings.destinations.items()
            ]
            while not stop.wait(0.05):
                if answers and (image := spool.next_image()) is not None:
                    worker.answer(image)
                for sender in senders:
                    sender.step()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            return list(run_selftest(settings, wait_s, host, count))
        finally:
            stop.set()
            thread.join()


def test_an_image_arrives_at_every_destination(tmp_path, parts):
    with server() as port:
        destinations = {
            "pacs": Destination(kind="dicom", host="127.0.0.1", port=port, ae_title=TITLE),
            "folder": Destination(kind="folder", path=str(tmp_path / "out")),
            "feet": Destination(
                kind="folder", path=str(tmp_path / "feet"), rules=Rules(body_part=("FOOT",))
            ),
        }
        steps = follow(node_settings(tmp_path, destinations=destinations), parts)
    assert [step.passed for step in steps] == [True] * 6
    text = "\n".join(step.text for step in steps)
    assert "pacs: picture, report sent; it answers C-ECHO" in text
    assert "folder: picture, report sent; read in the folder" in text
    assert "feet: its rules leave the image out" in text
    made = [pydicom.dcmread(file) for file in (tmp_path / "out").iterdir()]
    assert {each.PatientID for each in made} == {PATIENT_ID}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_with_tls_the_certificate_of_the_node_stands_for_that_of_a_sender(tmp_path, parts, host):
    pytest.importorskip("cryptography")
    from tests.helpers.clinic.certificates import write_certificates

    write_certificates(tmp_path)
    files = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}
    tls = ServerTls(**{key: str(tmp_path / name) for key, name in files.items()})
    steps = follow(node_settings(tmp_path, tls=tls), parts, host=host)
    assert [step.passed for step in steps] == [True] * 4


def test_without_a_node_it_says_so(tmp_path, parts):
    (step,) = run_selftest(node_settings(tmp_path), 1.0)
    assert not step.passed
    assert "orthoedge node serve" in step.text


def test_a_receiver_that_does_not_listen_is_named(tmp_path):
    settings = node_settings(tmp_path)
    with _only_node(settings):
        steps = list(run_selftest(settings, 1.0))
    assert [step.passed for step in steps] == [True, False]
    assert "cannot connect" in steps[-1].text


def test_a_worker_that_does_not_answer_is_named(tmp_path, parts):
    steps = follow(node_settings(tmp_path), parts, answers=False, wait_s=1.0)
    assert [step.passed for step in steps] == [True, True, False]
    assert "no answer within 1 s" in steps[-1].text


@pytest.mark.slow
def test_a_real_archive_has_the_results(tmp_path, parts):
    with orthanc(tmp_path, reports_to=free_port()) as archive:
        dicom = {"host": "127.0.0.1", "port": archive.dicom, "ae_title": ORTHANC}
        destinations = {
            "web": Destination(kind="dicomweb", url=archive.web, forward_original=True),
            "pacs": Destination(kind="dicom", **dicom),
        }
        steps = follow(node_settings(tmp_path, destinations=destinations), parts)
        assert [step.passed for step in steps] == [True] * 5
        assert "web: original, picture, report sent; found by QIDO-RS" in steps[3].text
        assert "pacs: picture, report sent; it answers C-ECHO" in steps[4].text
        with pytest.raises(DestinationError, match="1 of 1 objects are not there"):
            ask_destination(destinations["web"], ["1.2.3"], "NODE")


@pytest.mark.slow  # it waits for what does not come
def test_a_destination_that_is_down_is_named_with_its_reason(tmp_path, parts):
    gone = Destination(kind="dicom", host="127.0.0.1", port=free_port(), ae_title=TITLE)
    settings = node_settings(tmp_path, destinations={"pacs": gone})
    steps = follow(settings, parts, wait_s=15.0)
    assert not steps[-1].passed
    assert "pacs: the " in steps[-1].text
    assert "was not sent in time" in steps[-1].text
    assert "the sender tries this destination again in " in steps[-1].text


def test_several_images_end_with_their_times(tmp_path, parts):
    folder = Destination(kind="folder", path=str(tmp_path / "out"), results=("report",))
    settings = node_settings(tmp_path, destinations={"folder": folder})
    steps = follow(settings, parts, count=3)
    assert [step.passed for step in steps] == [True] * 5
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert re.fullmatch(
        r"3 images, from the end of C-STORE: answered after a median of \d+\.\d\d s, "
        r"p95 \d+\.\d\d s; at every destination after \d+\.\d\d s, p95 \d+\.\d\d s",
        steps[-1].text,
    )


@pytest.mark.parametrize(("bundle", "target"), [("", "portable"), ("phantom", "portable")])
def test_the_bundles_of_the_package_reject_no_image_of_the_self_test(bundle, target):
    pipeline = open_pipeline(bundle or None, target=target)
    assert pipeline.predict(make_image(bundle)[1]).decision != "reject"


def test_an_object_that_is_not_in_the_folder_is_missed(tmp_path):
    folder = Destination(kind="folder", path=str(tmp_path))
    with pytest.raises(DestinationError, match="1 of 1 objects are not there"):
        ask_destination(folder, ["1.2.3"], "NODE")


@pytest.mark.parametrize(("found", "is_there"), [("1.2.3", True), ("1.2.4", False)])
def test_a_dicomweb_service_is_queried(found, is_there):
    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/instances?SOPInstanceUID=1.2.3&limit=1"
            body = json.dumps([{"00080018": {"vr": "UI", "Value": [found]}}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Service) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}"
        service = Destination(kind="dicomweb", url=url, timeout_s=30)
        try:
            if is_there:
                assert ask_destination(service, ["1.2.3"], "NODE") == "found by QIDO-RS"
            else:
                with pytest.raises(DestinationError, match="not there"):
                    ask_destination(service, ["1.2.3"], "NODE")
        finally:
            running.shutdown()


def test_the_image_is_a_valid_object(tmp_path):
    file = tmp_path / "image.dcm"
    file.write_bytes(make_image("")[1])
    assert errors_of(file) == []
