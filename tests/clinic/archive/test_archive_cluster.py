"""An archive over the workers of a Dask scheduler, of which any process may be killed."""

import os
import threading
import time

import pytest

from orthoedge.clinic.archive import cluster as module
from orthoedge.clinic.archive.cluster import ClusterWorkers
from orthoedge.runtime.errors import EngineError
from tests.helpers.archives.dask import cluster
from tests.helpers.archives.rows import Here, rows_of, run_here, untimed, write_pictures

pytestmark = [
    pytest.mark.slow,  # each process takes seconds to start
    # distributed 2026.8 leaves sockets of a scheduler open that was killed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    write_pictures(folder, 400)
    return folder


@pytest.fixture(scope="module")
def expected(many, small_bundle, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    run_here(many, small_bundle, store, start=Here)
    return untimed(rows_of(store))


def run_on(address, source, bundle, store):
    return run_here(source, bundle, store, start=lambda settings: ClusterWorkers(settings, address))


class Run(threading.Thread):
    """A run in the background, and how it ended."""

    def __init__(self, *arguments):
        super().__init__(daemon=True)
        self._arguments = arguments
        self.error = self.summary = None

    def run(self):
        try:
            self.summary = run_on(*self._arguments)
        except EngineError as error:
            self.error = error

    def await_parts(self, store, count):
        while self.is_alive() and len(list(store.rglob("*.parquet"))) < count:
            time.sleep(0.01)


def test_the_rows_are_those_of_one_machine_and_a_bad_worker_is_refused(
    many, expected, small_bundle, tmp_path
):
    (tmp_path / "old").mkdir()
    patch = "import importlib.metadata as m; was = m.version\n"
    patch += "m.version = lambda name: '0.0' if name == 'orthoedge' else was(name)\n"
    (tmp_path / "old" / "sitecustomize.py").write_text(patch)
    with cluster(tmp_path) as running:
        running.start_worker("good")
        running.start_worker("bad", PYTHONPATH=f"{tmp_path / 'old'}:{os.environ['PYTHONPATH']}")
        start, notes = of_two_workers(running.address)
        run_here(many, small_bundle, tmp_path / "store", start=start)
    assert untimed(rows_of(tmp_path / "store")) == expected
    assert any("onnxruntime" in note and "fp32" in note for note in notes)
    assert any("refused: it has orthoedge 0.0" in note for note in notes)


def of_two_workers(address):
    """Starts the workers once two were heard of, and what is said of them."""
    notes = []

    def start(settings):
        workers = ClusterWorkers(settings, address)
        deadline = time.monotonic() + 240
        while sum("Dask" not in note for note in workers.notes) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            workers.wait()
        notes.extend(workers.notes)
        return workers

    return start, notes


def test_a_worker_with_another_instruction_set_says_which_it_has(many, small_bundle, tmp_path):
    with cluster(tmp_path) as running:
        running.start_worker("usual")
        running.start_worker("old", ONEDNN_MAX_CPU_ISA="SSE41")
        start, notes = of_two_workers(running.address)
        run_here(many, small_bundle, tmp_path / "store", start=start, target="x86")
    said = {note.rpartition("(")[2].rstrip(")") for note in notes if "openvino" in note}
    assert len(said) == 2
    assert any("sse" in isa for isa in said)
    assert {row["provenance"]["isa"] for row in rows_of(tmp_path / "store")} == said


def test_without_a_worker_that_can_be_used_the_reason_is_said(
    many, small_bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "_PATIENCE_S", 8.0)
    message = "no worker can be used in 8 s; start dask worker"
    with cluster(tmp_path) as running, pytest.raises(EngineError, match=message):
        run_on(running.address, many, small_bundle, tmp_path / "store")
    with pytest.raises(EngineError, match="no Dask scheduler answers at"):
        run_on(running.address, many, small_bundle, tmp_path / "store")


def test_a_killed_worker_costs_no_row_and_one_that_comes_later_helps(
    many, expected, small_bundle, tmp_path
):
    store = tmp_path / "store"
    with cluster(tmp_path) as running:
        running.start_worker("first")
        run = Run(running.address, many, small_bundle, store)
        run.start()
        run.await_parts(store, 1)
        running.kill("first")
        running.start_worker("second")
        run.join(120)
    assert run.error is None
    assert untimed(rows_of(store)) == expected


def test_after_a_killed_scheduler_the_same_command_goes_on(many, expected, small_bundle, tmp_path):
    store = tmp_path / "store"
    with cluster(tmp_path) as running:
        running.start_worker("one")
        run = Run(running.address, many, small_bundle, store)
        run.start()
        run.await_parts(store, 2)
        running.kill("scheduler")
        run.join(120)
        assert "the scheduler is lost" in str(run.error)
        before = rows_of(store)
        assert 0 < len(before) < 400
        running.start_scheduler()
        running.start_worker("two")
        summary = run_on(running.address, many, small_bundle, store)
    assert summary.done <= 400 - len(before)
    assert untimed(rows_of(store)) == expected
