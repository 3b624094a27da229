"""A backup can be restored, is brought up to date, and forgets what was deleted."""

import threading

import pytest

from orthoedge.clinic.history import History, Opinion, SearchQuery
from orthoedge.clinic.history.backup import back_up, check_history, restore
from orthoedge.runtime.errors import ConfigError, DataError
from tests.helpers.history.findings import PIXELS, file_of, new_finding


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path / "history")
    for number in range(3):
        opened.add(new_finding(f"Person {number}"), PIXELS + bytes([number, 0]))
    opened.verdict(2, Opinion(agrees=False, label="fracture"), "ada")
    yield opened
    opened.close()


def content(folder):
    opened = History(folder)
    try:
        findings = [opened.get(one.number) for one in opened.search(SearchQuery())]
        pixels = [opened.pixels.read(one.picture.sha256) for one in findings]
        return findings, pixels, opened.audit()
    finally:
        opened.close()


def test_a_restored_history_is_the_same(history, tmp_path):
    history.pixels.compress_next()
    back_up(history, tmp_path / "backup")
    copied = restore(tmp_path / "backup", tmp_path / "new")
    assert (copied.findings, copied.new_files) == (3, 3)
    assert content(tmp_path / "new") == content(history.folder)
    again = History(tmp_path / "new")
    assert again.add(new_finding()) == 4
    again.close()


def test_the_next_backup_writes_only_what_is_new(history, tmp_path):
    assert back_up(history, tmp_path / "backup").new_files == 3
    history.add(new_finding("New, One"), PIXELS * 3)
    assert back_up(history, tmp_path / "backup").new_files == 1
    assert content(tmp_path / "backup") == content(history.folder)


def test_what_was_deleted_leaves_the_backup_too(history, tmp_path):
    back_up(history, tmp_path / "backup")
    digest = history.get(2).picture.sha256
    history.delete([2], "ada", "asked for")
    back_up(history, tmp_path / "backup")
    opened = History(tmp_path / "backup")
    assert not opened.pixels.has(digest)
    assert [one.number for one in opened.search(SearchQuery())] == [3, 1]
    opened.close()


def test_pixels_that_were_compressed_since_are_not_kept_twice(history, tmp_path):
    back_up(history, tmp_path / "backup")
    while history.pixels.compress_next():
        pass
    back_up(history, tmp_path / "backup")
    suffixes = {path.suffix for path in (tmp_path / "backup" / "pixels").glob("*/*")}
    assert suffixes == {".gz"}


def test_a_backup_that_is_made_while_findings_come_in_is_whole(history, tmp_path):
    stop = threading.Event()

    def add():
        while not stop.is_set():
            history.add(new_finding(), PIXELS)

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for _ in range(3):
            back_up(history, tmp_path / "backup")
            opened = History(tmp_path / "backup")
            assert check_history(opened) == ()
            opened.close()
    finally:
        stop.set()
        thread.join()


def test_a_damaged_backup_is_refused_before_anything_is_written(history, tmp_path):
    back_up(history, tmp_path / "backup")
    next((tmp_path / "backup" / "pixels").glob("*/*")).write_bytes(b"damaged")
    with pytest.raises(DataError, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_history_is_never_overwritten_by_a_backup(history, tmp_path):
    back_up(history, tmp_path / "backup")
    with pytest.raises(ConfigError, match="holds a history; move it away"):
        restore(tmp_path / "backup", history.folder)


def test_a_backup_of_a_damaged_history_leaves_the_one_before(history, tmp_path):
    back_up(history, tmp_path / "backup")
    before = content(tmp_path / "backup")
    number = history.add(new_finding(), PIXELS * 2)
    history.pixels.remove(history.get(number).picture.sha256)
    with pytest.raises(DataError, match="missing"):
        back_up(history, tmp_path / "backup")
    assert content(tmp_path / "backup") == before


@pytest.mark.parametrize("where", ["history/backup", "history/pixels", "."])
def test_neither_folder_may_lie_in_the_other(history, tmp_path, where):
    with pytest.raises(ConfigError, match="apart"):
        back_up(history, tmp_path / where)
    with pytest.raises(ConfigError, match="apart"):
        restore(history.folder, tmp_path / where)
    assert not (history.folder / "backup").exists()


@pytest.mark.parametrize("where", ["history", "other"])
def test_a_folder_that_is_none_of_a_backup_is_refused(history, tmp_path, where):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.odt").write_text("mine")
    with pytest.raises(ConfigError, match="choose"):
        back_up(history, tmp_path / where)


def test_a_folder_without_a_backup_is_named(tmp_path):
    with pytest.raises(DataError, match="no backup"):
        restore(tmp_path, tmp_path / "new")


def test_a_check_reads_every_pixel(history):
    assert check_history(history) == ()
    path = file_of(history.pixels, history.get(2).picture.sha256)
    path.write_bytes(bytes(len(path.read_bytes())))
    (problem,) = check_history(history)
    assert str(path) in problem
