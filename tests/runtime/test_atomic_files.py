"""Files are whole or absent; leftovers of a kill are removed, a full disk loses nothing."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orthoedge.runtime import atomic_files
from orthoedge.runtime.atomic_files import atomic, staging, together, write_atomic
from tests.helpers.crash.campaign import campaign

ROOT = Path(__file__).parents[2]
# Writes half a file, says so, and waits to be killed.
HALF = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import conftest
from pathlib import Path
from orthoedge.runtime.atomic_files import atomic, staging
place = Path(sys.argv[1])
with staging(place, place) as folder, atomic(place / "file") as file:
    (folder / "part").write_bytes(b"half")
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def half_writer(tmp_path):
    """A process that has written half a file and half a folder into `tmp_path`."""
    command = [sys.executable, "-c", HALF, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def first_write():
    """As in a process that has not written before."""
    atomic_files._swept.clear()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_ones_is_not(
    half_writer, tmp_path
):
    write_atomic(tmp_path / "other", b"1")
    assert len(names(tmp_path)) == 3, "half a file and half a folder, and the other"
    half_writer.send_signal(signal.SIGKILL)
    half_writer.wait()
    atomic_files._swept.clear()
    (tmp_path / ".mine.tmp").write_bytes(b"another program's")
    write_atomic(tmp_path / "other", b"2")
    assert names(tmp_path) == [".mine.tmp", "other"]


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(8)]
    start = threading.Barrier(len(contents))

    def write(content):
        start.wait()
        for _ in range(20):
            write_atomic(tmp_path / "file", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_is_named_and_what_was_there_stays(tmp_path, small_files):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with small_files(1000), pytest.raises(OSError, match=r"File too large") as raised:
        write_atomic(path, bytes(2000))
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_error_of_who_writes_keeps_its_own_name_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def write():
        with atomic(path) as file:
            file.write(b"new")
            (tmp_path / "source").read_bytes()

    with pytest.raises(FileNotFoundError) as raised:
        write()
    assert raised.value.filename == str(tmp_path / "source")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_files_that_belong_together_appear_together_or_not_at_all(tmp_path, small_files):
    def write(text, size):
        with together(tmp_path / "report", "last.json") as new:
            for name in ("last.json", "picture"):
                write_atomic(new / name, text * size)

    write(b"1", 10)
    with small_files(1000), pytest.raises(OSError, match="File too large") as raised:
        write(b"2", 2000)
    assert raised.value.filename == str(tmp_path / "report" / "last.json")
    assert {path.read_bytes() for path in (tmp_path / "report").iterdir()} == {b"1" * 10}
    write(b"3", 10)
    assert {path.read_bytes() for path in (tmp_path / "report").iterdir()} == {b"3" * 10}
    assert names(tmp_path / "report") == ["last.json", "picture"]


def test_a_report_cut_short_among_its_renames_has_no_last_file(tmp_path, monkeypatch):
    def write(content):
        with together(tmp_path, "a.json") as new:
            for name in ("a.json", "b.png", "c.md"):
                write_atomic(new / name, content)

    write(b"old")
    rename, renamed = Path.replace, []

    def cut(self, target):
        if Path(target).parent == tmp_path:
            assert not renamed or renamed == ["b.png"]
            assert not (tmp_path / "a.json").exists()
            renamed.append(Path(target).name)
            if len(renamed) == 2:
                raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        write(b"new")
    assert names(tmp_path) == ["b.png", "c.md"]


def test_what_is_staged_is_removed_if_it_was_not_taken(tmp_path):
    with staging(tmp_path, tmp_path / "bundle") as folder:
        write_atomic(folder / "file", b"1")
    assert names(tmp_path) == []
    with staging(tmp_path, tmp_path / "bundle") as folder:
        write_atomic(folder / "file", b"1")
        folder.rename(tmp_path / "bundle")
    assert names(tmp_path / "bundle") == ["file"]
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.slow
@pytest.mark.parametrize("action", ["kill", "fill"])
def test_the_first_of_the_points_of_make_robustness(action, tmp_path):
    counts = {"bundle": 10, "plan store": 6}
    held, problems = campaign(action, counts, tmp_path)
    assert not problems
    assert held == sum(counts.values())
