"""What the node answers, or cannot answer, is in the list of the clinic's page, once."""

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest

from orthoedge.clinic.history import History, SearchQuery
from orthoedge.clinic.history.header import facts_of
from orthoedge.clinic.history.node import NodeHistory
from orthoedge.clinic.making.messages import HeaderFacts
from orthoedge.clinic.selftest.image import PATIENT_ID
from orthoedge.clinic.settings import HistorySettings
from orthoedge.clinic.watch.journal import Journal
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import PHANTOM
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.targets import open_pipeline
from tests.clinic.node.test_answering import folder, received, worker_of
from tests.helpers.clinic.images import CR, image_file, limb, source
from tests.helpers.clinic.nodes import Lines, node_settings, states

__all__ = ["worker_of"]  # a fixture
ALERTS = ("tumor-malignant",)


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(PHANTOM, target="portable")


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path / "history")
    yield opened
    opened.close()


def settings_of(folder, history):
    given = HistorySettings(folder=str(history))
    return msgspec.structs.replace(node_settings(folder), history=given)


def summaries(history):
    return history.search(SearchQuery())


def facts(changes=None):
    """What the process that reads headers says of the image."""
    return HeaderFacts(CR, "CR", "HAND", *facts_of(source(changes)))


def answered(history, pipeline, folder, changes=None, name=""):
    file = folder / "image.dcm"
    file.write_bytes(image_file(changes))
    read = facts(changes)
    radiograph, finding = pipeline.predict_with_image(file)
    entering = NodeHistory(settings_of(folder, history.folder), Lines())
    for _ in range(2):  # a worker that was killed between this and the spool tries again
        entering.answered("1.2.3", file, name, read, radiograph, finding, ALERTS)
    entering.close()
    return finding


def test_an_answer_is_entered_once_with_its_header_and_its_picture(history, pipeline, tmp_path):
    finding = answered(history, pipeline, tmp_path)
    (summary,) = summaries(history)
    assert (summary.origin, summary.file_name, summary.patient_name) == (
        "node",
        "1.2.3",
        "Doe, Jane",
    )
    stored = history.get(summary.number)
    assert json.loads(stored.finding) == json.loads(finding.to_json())
    pixels = np.frombuffer(history.pixels.read(stored.picture.sha256), "<u2")
    assert pixels.size == limb().size
    assert pixels.max() <= 255


def test_the_phantom_of_the_self_test_is_no_patient_of_the_clinic(history, pipeline, tmp_path):
    answered(history, pipeline, tmp_path, {0x00100020: ("LO", PATIENT_ID)})
    assert summaries(history) == []


def test_a_file_that_cannot_be_answered_is_a_line_with_its_reason(history, tmp_path):
    settings = settings_of(tmp_path, history.folder)
    settings.folder.mkdir()
    Journal(settings.folder).close()  # as the watcher makes it
    entering = NodeHistory(settings, Lines())
    for _ in range(2):
        entering.failed("1.2.3", tmp_path / "missing", "ward/hand.png", None, "no image")
    entering.close()
    (summary,) = summaries(history)
    assert (summary.origin, summary.file_name, summary.failure) == (
        "watch",
        "ward/hand.png",
        "no image",
    )


def test_without_a_folder_nothing_is_entered(tmp_path):
    NodeHistory(settings_of(tmp_path, ""), Lines()).failed(
        "1.2.3", tmp_path / "missing", "", None, "no image"
    )
    assert list(tmp_path.iterdir()) == []


def entering_worker(worker, folder):
    settings = worker._settings
    changed = msgspec.structs.replace(settings, history=HistorySettings(folder=str(folder)))
    worker._settings, worker._history = changed, NodeHistory(changed, worker._log)
    return worker


def test_the_worker_enters_what_it_answers(worker_of, tmp_path, pipeline, history):
    worker, spool = worker_of(pipeline)
    entering_worker(worker, history.folder).answer(received(spool, tmp_path))
    assert states(spool)[0] == {"1.2.3": "answered"}
    assert [one.file_name for one in summaries(history)] == ["1.2.3"]


def test_a_damaged_history_keeps_no_image_from_its_answer(worker_of, tmp_path, pipeline):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "history.sqlite").write_bytes(b"damaged" * 1000)
    worker, spool = worker_of(pipeline)
    entering_worker(worker, tmp_path / "bad").answer(received(spool, tmp_path))
    assert states(spool)[0] == {"1.2.3": "answered"}
    assert "not entered into the history" in worker._log.events()


class Reading:
    """A maker whose header process is as it is, or ends; it counts its headers."""

    def __init__(self, maker, error=None):
        self.make = maker.make
        self._maker, self._error = maker, error

    def read_header(self, folder, image):
        if self._error is not None:
            raise self._error
        return self._maker.read_header(folder, image)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (None, "Doe, Jane"),
        (OrthoEdgeError("the process ended by SIGKILL"), ""),
        (OrthoEdgeError("its header takes more memory than decode_mb"), ""),
        (InputError("damaged DICOM"), ""),
        (OSError(5, "Input/output error"), ""),
    ],
)
def test_no_header_of_an_image_without_an_answer_is_read_by_the_worker(
    worker_of, tmp_path, pipeline, history, maker, monkeypatch, error, name
):
    def parsed(*_, **__):
        raise AssertionError("a header in the worker's own process")

    worker, spool = worker_of(pipeline, Reading(maker, error))
    image = dataclasses.replace(received(spool, tmp_path), attempts=4)
    monkeypatch.setattr(pydicom, "dcmread", parsed)
    entering_worker(worker, history.folder).answer(image)
    (summary,) = summaries(history)
    assert (summary.patient_name, states(spool)[0]) == (name, {"1.2.3": "dead"})


def test_no_file_is_read_into_the_memory_of_the_worker(history, tmp_path, monkeypatch):
    file = tmp_path / "image.dcm"
    file.write_bytes(bytes(3_000_000))

    def whole(*_):
        raise AssertionError("the whole file at once")

    monkeypatch.setattr(Path, "read_bytes", whole)
    entering = NodeHistory(settings_of(tmp_path, history.folder), Lines())
    entering.failed("1.2.3", file, "", None, "no image")
    entering.close()
    monkeypatch.undo()
    stored = history.get(summaries(history)[0].number)
    assert stored.image_sha256 == sha256(file.read_bytes())


def test_the_worker_hands_alert_labels_and_history_to_the_page(
    worker_of, tmp_path, pipeline, monkeypatch
):
    worker, spool = worker_of(pipeline, pacs=folder(results=("picture",)))
    history = HistorySettings(folder=str(tmp_path / "history"))
    worker._settings = msgspec.structs.replace(worker._settings, history=history)
    given = []
    monkeypatch.setattr(worker._maker, "make", lambda *rest: given.append(rest[-1]) or ())
    worker.answer(received(spool, tmp_path))
    assert [one.history for one in given] == [history.folder]
    assert [one.alert_labels for one in given] == [pipeline.bundle.manifest.alert_labels]
