"""Radiographs of a DICOMweb service: found page by page, fetched as they are stored."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from orthoedge.clinic.archive.inputs import dicomweb
from orthoedge.clinic.archive.inputs.dicomweb import fetch_instance, list_instances
from orthoedge.clinic.archive.inputs.sources import list_inputs
from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending import DestinationError, send
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import ConfigError, DataError, InputError
from tests.helpers.archives.rows import Here, rows_of, run_here
from tests.helpers.clinic.images import image_file, limb
from tests.helpers.clinic.orthanc import orthanc
from tests.helpers.clinic.peers import free_port
from tests.helpers.hostile.dicom_bytes import pixel_elements


class Service:
    """A DICOMweb service of one study, which counts what it is asked."""

    def __init__(self):
        self.series = [("1.2.1", "DX"), ("1.2.2", "SR"), ("1.2.3", "CR")]
        self.instances = 3
        self.limits = True
        self.most = 100  # of its answers, whatever is asked for
        self.statuses = []  # of the next answers, before it answers well
        self.breaks_off = 0  # next answers that end before their last bytes
        self.boundary = "=b="
        self.content = b"\r\n--not the boundary\r\n\r\nfile"
        self.asked = []

    def answer(self, path, query, headers):
        self.asked.append((path, query, headers))
        if self.statuses:
            return self.statuses.pop(0), "text/plain", b""
        *_, last = path.split("/")
        if last == "studies":
            found = [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]
        elif last == "series":
            found = [
                {"0020000E": {"vr": "UI", "Value": [uid]}, "00080060": {"vr": "CS", "Value": [m]}}
                for uid, m in self.series
            ]
        elif last == "instances":
            found = [{"00080018": {"Value": [f"1.2.9.{n}"]}} for n in range(self.instances)]
        else:
            mark = b"--" + self.boundary.encode()
            part = mark + b"\r\nContent-Type: application/dicom\r\n\r\n" + self.content + b"\r\n"
            kind = f'multipart/related; type="application/dicom"; boundary="{self.boundary}"'
            return 200, kind, part + mark + b"--\r\n"
        if self.limits:
            start, count = (int(query[key][0]) for key in ("offset", "limit"))
            found = found[start : start + min(count, self.most)]
        return 200, "application/dicom+json", json.dumps(found).encode()


@pytest.fixture
def service(monkeypatch):
    """The service, and its address."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    asked = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            status, kind, body = asked.answer(parts.path, parse_qs(parts.query), self.headers)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if asked.breaks_off:
                asked.breaks_off -= 1
                body = body[: len(body) // 2]
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield asked, f"http://127.0.0.1:{running.server_port}/dicom-web"
    running.shutdown()
    thread.join()
    running.server_close()


def test_radiographs_are_found_page_by_page(service, monkeypatch, tmp_path):
    asked, address = service
    monkeypatch.setattr(dicomweb, "_PAGE", 2)
    (tmp_path / "secret").write_text("Bearer token\n")
    source = f"{address}?StudyDate=20200101-20201231&PatientSex=F"
    found = [each.name for each in list_inputs(source, tmp_path / "secret")]
    assert found == [
        f"{address}/studies/1.2/series/{series}/instances/1.2.9.{n}"
        for series in ("1.2.1", "1.2.3")  # the report is left out
        for n in range(3)
    ]
    path, query, headers = asked.asked[0]
    assert path == "/dicom-web/studies"
    assert query["StudyDate"] == ["20200101-20201231"]
    assert headers["Authorization"] == "Bearer token"
    assert headers["Accept"] == "application/dicom+json"


def test_a_service_that_knows_no_pages_is_listed_once_or_refused(service, monkeypatch):
    asked, address = service
    asked.limits, asked.instances = False, 3
    monkeypatch.setattr(dicomweb, "_PAGE", 2)
    assert len(list(list_instances(address, None))) == 6
    asked.instances = 2  # it gives as many as asked for, and the same ones again
    with pytest.raises(DataError, match="ignores `offset`"):
        list(list_instances(address, None))


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7])
def test_a_service_with_a_lower_limit_of_its_own_is_listed_whole(service, most):
    asked, address = service
    asked.most, asked.instances = most, 7
    assert len(list(list_instances(address, None))) == 14


def test_the_file_is_fetched_byte_by_byte_as_it_is_stored(service):
    asked, address = service
    instance = f"{address}/studies/1.2/series/1.2.1/instances/1.2.9.0"
    assert fetch_instance(instance, None) == asked.content
    _, _, headers = asked.asked[-1]
    assert "transfer-syntax=*" in headers["Accept"]
    asked.content = b""
    assert fetch_instance(instance, None) == b""


def test_a_service_that_restarts_is_asked_again(service):
    asked, address = service
    asked.statuses = [503, 502, 500]
    assert len(list(list_instances(address, None))) == 6


def test_an_answer_that_ends_early_is_asked_for_again(service):
    asked, address = service
    asked.breaks_off = 2
    assert len(list(list_instances(address, None))) == 6
    asked.breaks_off = 3
    instance = f"{address}/studies/1.2/series/1.2.1/instances/1.2.9.0"
    assert fetch_instance(instance, None) == asked.content
    asked.breaks_off = 4
    with pytest.raises(DestinationError, match="ends early"):
        fetch_instance(instance, None)


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ([404], InputError),
        ([410], InputError),
        ([401], DestinationError),
        ([503] * 4, DestinationError),
    ],
)
def test_what_no_other_try_mends_is_of_the_instance_or_of_the_service(service, statuses, error):
    asked, address = service
    asked.statuses = list(statuses)
    with pytest.raises(error, match=f"HTTP status {statuses[0]}"):
        fetch_instance(f"{address}/studies/1.2/series/1.2.1/instances/1.2.9.0", None)
    assert asked.statuses == []


def test_an_answer_that_breaks_off_is_of_the_instance(service):
    asked, address = service
    asked.content = b"x"
    asked.boundary = "=b="
    original = asked.answer

    def cut(*arguments):
        status, kind, body = original(*arguments)
        return status, kind, body[:-12]

    asked.answer = cut
    with pytest.raises(InputError, match="breaks off"):
        fetch_instance(f"{address}/studies/1.2/series/1.2.1/instances/1.2.9.0", None)


def test_an_answer_that_is_no_dicom_json_is_an_error(service):
    asked, address = service
    asked.series = [("a/../../b", "DX")]
    with pytest.raises(DataError, match="as attribute 0020000E"):
        list(list_instances(address, None))
    asked.answer = lambda *_: (200, "text/html", b"<html>")
    with pytest.raises(DataError, match="no answer in DICOM JSON"):
        list(list_instances(address, None))


@pytest.mark.parametrize("address", ["http://", "https://user:secret@host/dicom-web"])
def test_an_address_that_is_none_is_an_error(address):
    with pytest.raises(ConfigError, match="url"):
        list(list_inputs(address))


def test_a_service_that_is_away_ends_the_run(small_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(DestinationError, match="Connection refused"):
        run_here(f"http://127.0.0.1:{free_port()}/dicom-web", small_bundle, tmp_path, start=Here)


def radiographs(folder, count):
    """Files of DICOM, no two alike: 8 of a series, 2 series of a study."""
    files = []
    for number in range(count):
        series = number // 8
        pixels = limb() + np.uint16(number)
        changes = {
            0x0020000D: ("UI", f"1.2.826.0.9.{series // 2}"),
            0x0020000E: ("UI", f"1.2.826.0.9.{series // 2}.{series}"),
            0x00080018: ("UI", f"1.2.826.0.9.{series // 2}.{series}.{number}"),
            **pixel_elements(pixels),
        }
        files.append(folder / f"{number:03}.dcm")
        files[-1].write_bytes(image_file(changes))
    return files


@pytest.mark.slow  # the archive takes seconds to start
def test_a_real_archive_that_dies_midway_is_read_to_its_end_when_it_is_back(small_bundle, tmp_path):
    files = radiographs(tmp_path, 200)
    listed = tmp_path / "list"
    listed.write_text("\n".join(map(str, files)))
    run_here(listed, small_bundle, tmp_path / "local", start=Here)
    expected = answers(rows_of(tmp_path / "local"))
    store, reports_to = tmp_path / "store", free_port()
    with orthanc(tmp_path, reports_to=reports_to) as archive:
        to = Destination(kind="dicomweb", url=archive.web)
        assert {outcome.state for outcome in send(to, files, "ORTHOEDGE")} == {"stored"}

        def killing(settings):
            return Killing(settings, archive.process)

        with pytest.raises(DestinationError, match="Connection refused"):
            run_here(archive.web, small_bundle, store, start=killing)
    with pytest.raises(DestinationError, match="Connection refused"):  # while it lists
        run_here(archive.web, small_bundle, store, start=Here)
    before = rows_of(store)
    assert 0 < len(before) < 200
    with orthanc(tmp_path, reports_to=reports_to, ports=archive[:2]) as archive:
        summary = run_here(archive.web, small_bundle, store, jobs=2)
    assert (summary.listed, summary.done, summary.failed) == (200, 200 - len(before), 0)
    rows = rows_of(store)
    assert answers(rows) == expected
    assert [row for row in rows if row in before] == before


class Killing(Here):
    """Kills a service over the second share."""

    def __init__(self, settings, process):
        super().__init__(settings)
        self._process = process

    def wait(self):
        if len(self.shares) == 1:
            threading.Timer(0.05, self._process.kill).start()
        return super().wait()


def answers(rows):
    """What the rows say, whatever the radiographs are called and however they came."""
    kept = ("pixels_sha256", "label", "probabilities", "decision", "reasons", "error")
    return sorted(repr([row[key] for key in kept]) for row in rows)


@pytest.mark.slow  # the archive takes seconds to start
def test_the_images_of_a_real_archive_have_their_rows(small_bundle, tmp_path):
    files = []
    for number in range(3):
        changes = {
            0x0020000D: ("UI", f"1.2.826.0.9.{number}"),
            0x0020000E: ("UI", f"1.2.826.0.9.{number}.1"),
            0x00080018: ("UI", f"1.2.826.0.9.{number}.1.1"),
        }
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(image_file(changes))
    with orthanc(tmp_path, reports_to=free_port()) as archive:
        to = Destination(kind="dicomweb", url=archive.web)
        assert [outcome.state for outcome in send(to, files, "ORTHOEDGE")] == ["stored"] * 3
        store = tmp_path / "store"
        assert run_here(archive.web, small_bundle, store, start=Here).failed == 0
        stored = [archive.file(f"1.2.826.0.9.{number}.1.1") for number in range(3)]
        some = run_here(
            f"{archive.web}?StudyInstanceUID=1.2.826.0.9.1",
            small_bundle,
            tmp_path / "some",
            start=Here,
        )
    assert some.listed == 1
    rows = rows_of(store)
    assert [row["file_sha256"] for row in rows] == [sha256(file) for file in stored]
    assert {row["source"] for row in rows} == {archive.web}
    local = tmp_path / "local"
    listed = tmp_path / "list"
    listed.write_text("\n".join(map(str, files)))
    run_here(listed, small_bundle, local, start=Here)
    assert [row["pixels_sha256"] for row in rows] == [
        row["pixels_sha256"] for row in rows_of(local)
    ]
    assert [row["label"] for row in rows] == [row["label"] for row in rows_of(local)]
