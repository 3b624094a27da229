"""Every input of an archive has one row, whatever happens on the way."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.clinic.archive.outcome import Outcome
from orthoedge.clinic.archive.rows import ArchiveRow
from orthoedge.clinic.archive.store import Store
from orthoedge.clinic.archive.worker import Worker, _EarlyReader, failed_row
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import ConfigError, DataError, EngineError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox import SandboxLimits
from orthoedge.targets import EngineOptions, open_pipeline
from tests.helpers.archives.bundles import bundle_like
from tests.helpers.archives.rows import Here, record_of, rows_of, run_here, settings_of, untimed


def test_a_row_says_what_the_pipeline_says_and_what_it_was_said_of(
    pictures, small_bundle, tmp_path
):
    summary = run_here(pictures, small_bundle, tmp_path, start=Here, maps=True)
    assert (summary.listed, summary.done, summary.failed) == (24, 24, 0)
    options = EngineOptions(threads=1)
    pipeline = open_pipeline(small_bundle, target="portable", engine=options)
    files = sorted(pictures.rglob("*.png"))
    for row, file in zip(rows_of(tmp_path), files, strict=True):
        finding = pipeline(file)
        assert row["input"] == str(file)
        assert row["source"] == "000"
        assert row["label"] == finding.label
        assert dict(row["probabilities"]) == finding.probabilities
        assert row["decision"] == finding.decision
        assert tuple(row["reasons"]) == finding.verdict.reasons
        assert row["out_of_distribution"] == finding.verdict.out_of_distribution
        assert row["saliency_map"] == finding.saliency_map.tolist()
        assert row["provenance"] == vars(finding.provenance)
        pixels = read_image(file).pixels
        assert row["pixels_sha256"] == sha256(pixels.tobytes())
        assert (row["height"], row["width"]) == pixels.shape
        assert row["file_sha256"] == sha256(file.read_bytes())
        assert row["error"] is None
        assert row["finished_at"].tzinfo is not None
        assert row["timing_ms"]["inference"] > 0


def test_the_same_input_and_bundle_is_never_done_twice(pictures, small_bundle, tmp_path):
    run_here(pictures, small_bundle, tmp_path, start=Here)
    before = {part: part.read_bytes() for part in tmp_path.rglob("*.parquet")}

    def fails(settings):
        raise AssertionError("no worker is needed")

    summary = run_here(pictures, small_bundle, tmp_path, start=fails)
    assert (summary.listed, summary.done) == (24, 0)
    assert {part: part.read_bytes() for part in tmp_path.rglob("*.parquet")} == before


def test_what_is_new_in_the_source_is_done_alone(pictures, small_bundle, tmp_path):
    some = sorted(map(str, pictures.rglob("*.png")))[:5]
    listed = tmp_path / "some.txt"
    listed.write_text("\n".join([*some, some[0]]))
    store = tmp_path / "store"
    assert run_here(listed, small_bundle, store, start=Here).done == 5
    assert run_here(pictures, small_bundle, store, start=Here).done == 19
    assert len(rows_of(store)) == 24


def test_another_bundle_goes_beside_it(pictures, small_bundle, tmp_path):
    other = bundle_like(small_bundle, tmp_path / "other")
    store = tmp_path / "store"
    run_here(pictures, small_bundle, store, start=Here)
    run_here(pictures, other, store, start=Here)
    assert len(rows_of(store, small_bundle)) == len(rows_of(store, other)) == 24
    assert {row["provenance"]["bundle_sha256"] for row in rows_of(store, other)} == {other.sha256}


def test_rows_of_one_bundle_are_made_in_one_way(pictures, small_bundle, tmp_path):
    run_here(pictures, small_bundle, tmp_path, start=Here)
    store = Store.of_bundle(tmp_path, small_bundle.sha256)
    with (
        pytest.raises(ConfigError, match="--target portable --precision fp32 --threads 1"),
        store.opened(record_of(small_bundle, precision="int8")),
    ):
        pass


@pytest.fixture
def poisoned(pictures, tmp_path):
    """A list of good and bad inputs."""
    good = sorted(pictures.rglob("*.png"))[:3]
    text, cut, pipe, empty = (tmp_path / name for name in ("text.png", "cut.png", "pipe", "empty"))
    text.write_text("no picture")
    cut.write_bytes(good[0].read_bytes()[:200])
    os.mkfifo(pipe)
    empty.touch()
    paths = [good[0], text, good[1], cut, pipe, empty, tmp_path, tmp_path / "absent", good[2]]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, paths)))
    return listed


@pytest.mark.parametrize("isolate", [False, True])
def test_a_poisonous_file_is_a_row_with_the_reason(poisoned, small_bundle, tmp_path, isolate):
    summary = run_here(poisoned, small_bundle, tmp_path / "store", start=Here, isolate=isolate)
    assert (summary.listed, summary.failed) == (9, 6)
    rows = {Path(row["input"]).name: row for row in rows_of(tmp_path / "store")}
    assert rows["absent"]["error"] == "no such file"
    assert "folder, a pipe or a device" in rows["pipe"]["error"]
    assert rows["empty"]["error"] == "empty file"
    assert "PNG" in rows["cut.png"]["error"]
    assert "not an image" in rows["text.png"]["error"]
    for name in ("absent", "pipe", "empty", "cut.png", "text.png"):
        assert rows[name]["label"] is rows[name]["decision"] is None
        assert rows[name]["finished_at"] is not None


def test_rows_do_not_depend_on_where_a_file_is_decoded(poisoned, small_bundle, tmp_path):
    rows = []
    for isolate in (False, True):
        store = tmp_path / f"store{isolate}"
        run_here(poisoned, small_bundle, store, start=Here, isolate=isolate)
        rows.append(untimed(rows_of(store)))
    assert rows[0] == rows[1]


def test_errors_are_done_again_only_when_asked(poisoned, small_bundle, tmp_path):
    store = tmp_path / "store"
    run_here(poisoned, small_bundle, store, start=Here)
    (tmp_path / "absent").write_bytes((tmp_path / "cut.png").read_bytes())
    second = run_here(poisoned, small_bundle, store, start=Here)
    assert (second.done, second.failed, second.unanswered) == (0, 0, 6)
    again = run_here(poisoned, small_bundle, store, start=Here, retry_errors=True)
    assert (again.done, again.failed) == (6, 6)
    rows = {row["input"]: row for row in rows_of(store)}
    assert "PNG" in rows[str(tmp_path / "absent")]["error"]
    assert len(rows) == 9


def test_an_input_that_kills_its_worker_each_time_is_a_row(pictures, small_bundle, tmp_path):
    killer = sorted(map(str, pictures.rglob("*.png")))[13]

    def start(settings):
        return Here(settings, dies=lambda share: any(item.name == killer for item in share))

    summary = run_here(pictures, small_bundle, tmp_path, start=start)
    assert (summary.done, summary.failed) == (24, 1)
    (row,) = [row for row in rows_of(tmp_path) if row["error"]]
    assert row["input"] == killer
    assert "worker died" in row["error"]


class Leaving(Here):
    """Workers that all die over their first shares; others come some time later."""

    away = None

    def room(self):
        return 0 if self.away else super().room()

    def wait(self):
        if self.away is None:
            self.away = 3
            died, self._waiting = self._waiting, []
            return [Outcome(share, None) for share in died]
        if self.away:
            self.away -= 1
            return []
        return super().wait()


def test_a_run_whose_workers_are_all_gone_waits_for_others(pictures, small_bundle, tmp_path):
    summary = run_here(pictures, small_bundle, tmp_path, start=Leaving)
    assert summary.done == len(rows_of(tmp_path)) == 24


def test_workers_that_only_die_end_the_run_and_leave_no_row(pictures, small_bundle, tmp_path):
    def start(settings):
        return Here(settings, dies=lambda share: True)

    with pytest.raises(EngineError, match="died 21 times in a row"):
        run_here(pictures, small_bundle, tmp_path, start=start)
    assert rows_of(tmp_path) == []


def test_a_worker_whose_golden_answers_differ_is_refused(pictures, small_bundle, tmp_path):
    wrong = bundle_like(small_bundle, tmp_path / "wrong", golden_factor=1.5)
    with pytest.raises(
        EngineError, match=r"refused: its answers to the golden images differ: FAIL"
    ):
        run_here(pictures, wrong, tmp_path / "store", start=Here)
    assert rows_of(tmp_path / "store") == []


def test_a_worker_with_another_bundle_or_version_is_refused(pictures, small_bundle, tmp_path):
    with pytest.raises(EngineError, match="refused: its bundle has SHA-256"):
        run_here(pictures, small_bundle, tmp_path, start=Here, bundle_sha256="0" * 64)
    with pytest.raises(EngineError, match="refused: it has orthoedge"):
        run_here(pictures, small_bundle, tmp_path, start=Here, version="0.0")


def test_a_worker_of_an_older_run_writes_nothing(pictures, small_bundle, tmp_path):
    store = Store.of_bundle(tmp_path, small_bundle.sha256)
    with store.opened(record_of(small_bundle)) as old:
        pass
    with store.opened(record_of(small_bundle)):
        with pytest.raises(EngineError, match="taken it over"):
            store.write_part([ArchiveRow(input="a", source="", truth=None)], old)
        with pytest.raises(DataError, match="another archive run works on it"):
            run_here(pictures, small_bundle, tmp_path, start=Here)
    assert rows_of(tmp_path) == []


def test_a_second_row_of_an_input_is_removed(pictures, small_bundle, tmp_path):
    run_here(pictures, small_bundle, tmp_path, start=Here)
    expected = untimed(rows_of(tmp_path))
    settings = settings_of(small_bundle, tmp_path)
    # As a worker of a run that was killed would, that had other shares.
    first = settings.store.parts()[0]
    copy = first.with_name(f"{'f' * 32}.parquet")
    shutil.copy(first, copy)
    run_here(pictures, small_bundle, tmp_path, start=Here)
    assert untimed(rows_of(tmp_path)) == expected


@pytest.mark.parametrize("middle", [1, 2, 3])
def test_a_share_that_was_written_and_then_halved_keeps_every_row(small_bundle, tmp_path, middle):
    store = Store.of_bundle(tmp_path, small_bundle.sha256)
    names = ["a", "b", "c", "d"]
    for shift in range(20):  # so that the parts come in every order
        rows = [ArchiveRow(input=f"{shift}{name}", source="", truth=None) for name in names]
        with store.opened(record_of(small_bundle)) as token:
            for share in (rows, rows[:middle], rows[middle:]):
                store.write_part(share, token)
    store.tidy()
    expected = sorted(f"{shift}{name}" for shift in range(20) for name in names)
    assert [row["input"] for row in rows_of(tmp_path)] == expected


def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    pictures, small_bundle, tmp_path, small_files
):
    with small_files(4000), pytest.raises(OSError, match="File too large") as caught:
        run_here(pictures, small_bundle, tmp_path, start=Here)
    assert Path(caught.value.filename).suffix == ".parquet"
    assert rows_of(tmp_path) == []
    assert run_here(pictures, small_bundle, tmp_path, start=Here).done == 24
    assert len(rows_of(tmp_path)) == 24


def test_a_damaged_part_is_named(pictures, small_bundle, tmp_path):
    run_here(pictures, small_bundle, tmp_path, start=Here)
    part = Store.of_bundle(tmp_path, small_bundle.sha256).parts()[0]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{part.name}: damaged.*remove it and run again"):
        run_here(pictures, small_bundle, tmp_path, start=Here)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in/notes.txt", "no picture", "no radiographs"),
        ("in", "", "no radiographs"),
        ("in.csv", "path,label\n", "no radiographs"),
        ("in.csv", "path,label\na.png,fracture\n,fracture\n", "line 3, column path: no path"),
        ("in", "a.png\na\0b.png\n", "line 2: not a path"),
        ("", "", "No such file"),
    ],
)
def test_a_source_that_cannot_be_listed_leaves_no_store(
    small_bundle, tmp_path, name, content, message
):
    file = tmp_path / (name or "elsewhere")
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    source = tmp_path / "in" if "/" in name else tmp_path / (name or "absent")
    with pytest.raises(DataError, match=message):
        run_here(source, small_bundle, tmp_path / "stores" / "store", start=Here)
    assert not (tmp_path / "stores").exists()


def test_an_engine_that_fails_once_is_opened_again(pictures, small_bundle, tmp_path, monkeypatch):
    original, failed = Worker.answer, []

    def answer(self, content):
        if not failed:
            failed.append(self)
            raise EngineError("the sandbox process does not start")
        assert self is not failed[0]
        return original(self, content)

    monkeypatch.setattr(Worker, "answer", answer)
    assert run_here(pictures, small_bundle, tmp_path, start=Here).failed == 0
    assert len(failed) == 1


def test_an_engine_that_always_fails_ends_the_run_and_leaves_no_row(
    pictures, small_bundle, tmp_path, monkeypatch
):
    def answer(self, content):
        raise EngineError("the sandbox process does not start")

    monkeypatch.setattr(Worker, "answer", answer)
    with pytest.raises(EngineError, match="does not start"):
        run_here(pictures, small_bundle, tmp_path, start=Here)
    assert rows_of(tmp_path) == []


def test_a_failed_row_keeps_what_the_index_says():
    from orthoedge.clinic.archive.inputs.sources import ArchiveInput

    row = failed_row(ArchiveInput(b"/a", "site", "fracture"), "why")
    assert (row.input, row.source, row.truth, row.error) == ("/a", "site", "fracture", "why")


@pytest.mark.parametrize("side", [64, 4000])
def test_a_file_that_is_decoded_early_is_held_to_the_same_memory(side):
    ramp = np.tile(np.arange(side).astype(np.uint8), (side, 1))
    data = cv2.imencode(".png", ramp)[1].tobytes()
    early = _EarlyReader(SandboxLimits(memory_mb=20))
    answers = []
    for begin in (True, False):
        if begin:
            early.begin(data)
        try:
            answers.append(early(data, memory_mb=20).pixels.shape)
        except InputError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]
    assert isinstance(answers[0], str) == (side == 4000)
