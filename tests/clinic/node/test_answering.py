"""Every image gets its answer, or a dead letter with the reason; none of them stops the worker."""

import dataclasses
import threading
from types import SimpleNamespace

import msgspec
import pydicom
import pytest

from orthoedge.clinic import worker as worker_module
from orthoedge.clinic.answering import Worker
from orthoedge.clinic.destination import Destination, Rules
from orthoedge.clinic.operations.start import START_ERRORS
from orthoedge.clinic.settings import EngineSettings, HistorySettings, RetentionSettings
from orthoedge.clinic.spool.retention import apply_retention
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.spool.status import count_states
from orthoedge.runtime.errors import (
    BundleError,
    ConfigError,
    DataError,
    EngineError,
    MissingDependency,
    OrthoEdgeError,
)
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.nodes import Lines, eventually, node_settings, set_back, states
from tests.helpers.clinic.nodes import image as image_of
from tests.helpers.clinic.nodes import new_image as new

CT = "1.2.840.10008.5.1.4.1.1.2"
CLASS, MODALITY, BODY_PART, PIXELS = 0x00080016, 0x00080060, 0x00180015, 0x7FE00010


@pytest.fixture(scope="module")
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="portable")


def folder(**changes):
    return Destination(kind="folder", path="/archive", **changes)


def answering_settings(place, bundle, **destinations):
    """Settings of a node that answers with a bundle."""
    engine = EngineSettings(bundle=str(bundle.path), target="portable")
    return msgspec.structs.replace(node_settings(place, destinations=destinations), engine=engine)


@pytest.fixture
def worker_of(tmp_path, pipeline, maker):
    """Call it with destinations for a worker and its spool."""
    opened = []

    def make(answering=pipeline, making=maker, **destinations):
        settings = node_settings(tmp_path, destinations=destinations)
        spool = Spool(settings.folder, settings.queue)
        opened.append(spool)
        return Worker(settings, spool, answering, making, Lines()), spool

    yield make
    for spool in opened:
        spool.close()


def received(spool, tmp_path, uid="1.2.3", changes=None, sop_class=None):
    file = image_of(tmp_path, uid, changes)
    image = new(uid) if sop_class is None else dataclasses.replace(new(uid), sop_class=sop_class)
    assert spool.add_image(file, image)
    return spool.next_image()


def test_each_destination_gets_what_it_asks_for(worker_of, tmp_path):
    worker, spool = worker_of(
        pacs=folder(results=("picture", "report"), forward_original=True),
        archive=folder(results=("report",)),
        other=folder(rules=Rules(modality=("DX",))),
    )
    worker.answer(received(spool, tmp_path))
    images, objects = states(spool)
    assert images == {"1.2.3": "answered"}
    assert set(objects) == {
        ("pacs", "original"),
        ("pacs", "picture"),
        ("pacs", "report"),
        ("archive", "report"),
    }
    assert len(list(spool.objects.iterdir())) == 2  # a kind is made once for all destinations


def test_results_are_valid_files_about_the_image(worker_of, tmp_path):
    worker, spool = worker_of(pacs=folder(results=("report",)))
    worker.answer(received(spool, tmp_path))
    (file,) = spool.objects.iterdir()
    result = pydicom.dcmread(file)
    assert result.StudyInstanceUID == "1.2.826.0.1.1"
    assert file.name == f"{result.SOPInstanceUID}.dcm"


def test_an_answer_that_is_made_again_has_the_same_objects(worker_of, tmp_path):
    worker, spool = worker_of(pacs=folder(results=("picture", "report")))
    image = received(spool, tmp_path)
    worker.answer(image)
    before = {file.name: file.read_bytes() for file in spool.objects.iterdir()}
    with spool.index.transaction() as connection:  # as after a kill before the last commit
        connection.execute("DELETE FROM objects")
        connection.execute("UPDATE images SET state = 'received'")
    worker.answer(image)
    assert {file.name: file.read_bytes() for file in spool.objects.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({MODALITY: ("CS", "MR")}, "wrong modality MR"),
        ({PIXELS: ("OW", b"\0\0")}, "truncated DICOM: 2 bytes of pixels"),
        ({0x00080018: ("UI", "9.9")}, "of another SOP instance than the sender announced"),
    ],
)
def test_what_cannot_be_answered_is_a_dead_letter_with_its_reason(
    worker_of, tmp_path, changes, reason
):
    worker, spool = worker_of(pacs=folder())
    worker.answer(received(spool, tmp_path, changes=changes))
    assert states(spool) == ({"1.2.3": "dead"}, {})
    assert reason in (spool.dead / "1.2.3.txt").read_text()


def test_what_is_no_dicom_is_a_dead_letter(worker_of, tmp_path):
    worker, spool = worker_of(pacs=folder())
    file = tmp_path / "noise"
    file.write_bytes(bytes(range(256)) * 50)
    spool.add_image(file, new())
    worker.answer(spool.next_image())
    assert states(spool)[0] == {"1.2.3": "dead"}


def test_the_original_of_a_dead_letter_is_forwarded_all_the_same(worker_of, tmp_path):
    worker, spool = worker_of(pacs=folder(forward_original=True))
    worker.answer(received(spool, tmp_path, changes={PIXELS: ("OW", b"\0\0")}))
    assert states(spool) == ({"1.2.3": "dead"}, {("pacs", "original"): "waiting"})


def test_another_class_is_filed_and_forwarded_without_an_answer(worker_of, tmp_path):
    worker, spool = worker_of(pacs=folder(forward_original=True))
    worker.answer(received(spool, tmp_path, changes={CLASS: ("UI", CT)}, sop_class=CT))
    assert states(spool) == ({"1.2.3": "answered"}, {("pacs", "original"): "waiting"})


class Failing:
    """A pipeline whose engine fails on images, or on its golden image too."""

    def __init__(self, pipeline, is_engine_broken):
        self.bundle = pipeline.bundle
        self._pipeline = pipeline
        self._is_engine_broken = is_engine_broken

    def predict_with_image(self, source):
        raise EngineError("outputs are not finite")

    def predict(self, source):
        if self._is_engine_broken:
            raise EngineError("the device is lost")
        return self._pipeline.predict(source)


def test_an_image_that_fails_each_time_is_a_dead_letter_in_the_end(worker_of, tmp_path, pipeline):
    worker, spool = worker_of(Failing(pipeline, False), pacs=folder())
    image = received(spool, tmp_path)
    while image is not None:
        worker.answer(image)
        image = spool.next_image()
    assert states(spool)[0] == {"1.2.3": "dead"}
    assert (spool.dead / "1.2.3.txt").read_text() == (
        "the worker failed 3 times while it answered this image, the last time: "
        "outputs are not finite\n"
    )


def test_a_broken_engine_ends_the_worker_and_costs_no_image_an_attempt(
    worker_of, tmp_path, pipeline
):
    worker, spool = worker_of(Failing(pipeline, True), pacs=folder())
    for _ in range(5):
        with pytest.raises(EngineError):
            worker.answer(spool.next_image() or received(spool, tmp_path))
    assert spool.next_image().attempts == 1
    assert states(spool)[0] == {"1.2.3": "received"}


MISSING = MissingDependency("python-gdcm", "dicom", "reading JPEG images")


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("read_header", MISSING),
        ("predict_with_image", MISSING),
        ("predict_with_image", DataError("index.csv: no such column")),
        ("predict_with_image", BundleError("golden: no such file")),
        ("read_header", ConfigError("no font for Latin letters")),
    ],
)
def test_what_is_missing_at_one_image_costs_that_image_and_not_the_node(
    worker_of, tmp_path, pipeline, maker, step, error
):
    def fails(*_):
        raise error

    parts = {"make": maker.make, "read_header": maker.read_header, step: fails}
    answering = Failing(pipeline, False)
    if step == "predict_with_image":
        answering.predict_with_image = fails
    worker, spool = worker_of(answering, SimpleNamespace(**parts), pacs=folder())
    image = received(spool, tmp_path)
    while image is not None:
        worker.answer(image)
        image = spool.next_image()
    assert states(spool)[0] == {"1.2.3": "dead"}
    assert str(error) in (spool.dead / "1.2.3.txt").read_text()


@pytest.mark.parametrize(
    "error",
    [
        MissingDependency("typst", "report", "making a report"),
        ConfigError("no font for Arabic letters"),
        OrthoEdgeError("the process that makes its results ended by SIGSEGV"),
        OrthoEdgeError("its header or results take more memory than decode_mb"),
        DataError("damaged"),
    ],
)
def test_a_result_that_cannot_be_made_costs_no_other(worker_of, tmp_path, maker, error):
    class Making:
        read_header = maker.read_header

        def make(self, folder, image, kinds, answer):
            if "pdf" in kinds:
                raise error
            return maker.make(folder, image, kinds, answer)

    worker, spool = worker_of(
        making=Making(),
        pacs=folder(results=("picture", "report", "pdf"), forward_original=True),
        archive=folder(results=("pdf",)),
        other=folder(results=("report",)),
    )
    image = received(spool, tmp_path)
    while image is not None:
        worker.answer(image)
        image = spool.next_image()
    assert states(spool) == (
        {"1.2.3": "answered"},
        {
            ("pacs", "original"): "waiting",
            ("pacs", "picture"): "waiting",
            ("pacs", "report"): "waiting",
            ("pacs", "pdf"): "dead",
            ("archive", "pdf"): "dead",
            ("other", "report"): "waiting",
        },
    )
    reasons = {(each.what, each.state): each.reason for each in count_states(spool)}
    assert reasons["pacs", "dead"] == f"the pdf cannot be made: {error}"
    (line,) = (each for each in worker._log.lines if each["event"] == "result not made")
    assert (line["kind"], line["reason"]) == ("pdf", str(error))
    set_back(spool, 100 * 86400)
    assert [each.uid for each in apply_retention(spool, RetentionSettings())] == ["1.2.3"]


def test_results_without_an_entry_leave_when_the_worker_starts_and_others_stay(
    tmp_path, small_bundle, monkeypatch
):
    settings = answering_settings(tmp_path, small_bundle, pacs=folder(results=("report",)))
    monkeypatch.setattr(worker_module, "_TIDY_S", 0.0)
    spool = Spool(settings.folder, settings.queue)
    for name in ("9.9.dcm", ".orthoedge-a.tmp"):
        (spool.objects / name).write_bytes(b"Doe^Jane")
    spool.add_image(image_of(tmp_path), new())
    log, stop = Lines(), threading.Event()
    thread = threading.Thread(target=worker_module.answer_images, args=(settings, log, stop))
    thread.start()
    try:
        eventually(lambda: states(spool)[0] == {"1.2.3": "answered"})
        (result,) = spool.objects.iterdir()
        (spool.objects / "9.8.dcm").write_bytes(b"Doe^Jane")  # of an attempt that failed
        eventually(lambda: list(spool.objects.iterdir()) == [result])
    finally:
        stop.set()
        thread.join()
        spool.close()


@pytest.mark.parametrize(
    "error",
    [START_ERRORS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in START_ERRORS[1:])],
)
def test_an_error_of_the_start_is_none_once_images_are_answered(
    tmp_path, small_bundle, monkeypatch, error
):
    def fails(self):
        raise error("a", "b", "c") if error is MissingDependency else error("damaged")

    settings = answering_settings(tmp_path, small_bundle)
    monkeypatch.setattr(Spool, "next_image", fails)
    with pytest.raises(OrthoEdgeError) as raised:
        worker_module.answer_images(settings, Lines(), threading.Event())
    assert not isinstance(raised.value, START_ERRORS)


def test_a_defect_is_counted_and_its_text_is_not_logged(worker_of, tmp_path, pipeline):
    class Broken(Failing):
        def predict_with_image(self, source):
            raise KeyError("Doe^Jane")

    worker, spool = worker_of(Broken(pipeline, False), pacs=folder())
    worker.answer(received(spool, tmp_path))
    assert states(spool)[0] == {"1.2.3": "received"}
    assert spool.next_image().failure.startswith("KeyError in ")


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(worker_of, tmp_path, maker):
    class BadSector:
        make = maker.make

        def read_header(self, folder, image):
            if image.uid == "1.2.3":
                raise OSError(5, "Input/output error")
            return maker.read_header(folder, image)

    worker, spool = worker_of(making=BadSector(), pacs=folder(results=("report",)))
    for uid in ("1.2.3", "1.2.4"):
        spool.add_image(image_of(tmp_path, uid), new(uid))
    while (image := spool.next_image()) is not None:
        worker.answer(image)
    assert states(spool)[0] == {"1.2.3": "dead", "1.2.4": "answered"}
    assert "Input/output error" in (spool.dead / "1.2.3.txt").read_text()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_puts_answers_off_and_costs_no_attempt(
    tmp_path, small_bundle, monkeypatch
):
    settings = answering_settings(tmp_path, small_bundle, pacs=folder(results=("report",)))
    monkeypatch.setattr(worker_module, "_DISK_S", 0.01)
    log, stop = Lines(), threading.Event()
    thread = threading.Thread(target=worker_module.answer_images, args=(settings, log, stop))
    thread.start()
    spool = Spool(settings.folder, settings.queue)
    try:
        eventually(lambda: "engine opened" in log.events())
        spool.objects.rmdir()
        spool.objects.touch()
        spool.add_image(image_of(tmp_path), new())
        # More often than an image has attempts.
        eventually(lambda: log.events().count("cannot write an answer") > 5)
        spool.objects.unlink()
        spool.objects.mkdir()
        eventually(lambda: states(spool)[0] == {"1.2.3": "answered"})
    finally:
        stop.set()
        thread.join()
        spool.close()
    assert not list(spool.dead.iterdir())


def test_a_result_process_that_ends_at_the_start_does_not_end_the_worker(
    tmp_path, small_bundle, monkeypatch
):
    settings = answering_settings(tmp_path, small_bundle)

    def ended(*_):
        raise OrthoEdgeError("the process that makes its results ended by SIGKILL")

    monkeypatch.setattr(worker_module.ResultMaker, "check", ended)
    log, stop = Lines(), threading.Event()
    stop.set()
    worker_module.answer_images(settings, log, stop)
    assert log.events() == ["results not checked", "engine opened", "ended"]


@pytest.mark.slow
def test_the_log_names_the_folder_that_cannot_be_written_and_no_file(
    tmp_path, small_bundle, monkeypatch
):
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "history")
    settings = msgspec.structs.replace(
        answering_settings(tmp_path, small_bundle), history=HistorySettings(folder=place)
    )
    log, stop = Lines(), threading.Event()
    spool = Spool(settings.folder, settings.queue)
    spool.add_image(image_of(tmp_path), new())
    thread = threading.Thread(target=worker_module.answer_images, args=(settings, log, stop))
    thread.start()
    try:
        eventually(lambda: "cannot write an answer" in log.events())
    finally:
        stop.set()
        thread.join()
        spool.close()
    (line,) = (line for line in log.lines if line["event"] == "cannot write an answer")
    assert line["reason"] == f"{place}: Not a directory"
