"""What a source lists, what is left of it, and how much is read ahead."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from orthoedge.clinic.archive.inputs import read_ahead as module
from orthoedge.clinic.archive.inputs.read_ahead import read_ahead
from orthoedge.clinic.archive.inputs.sources import ArchiveInput, list_inputs
from orthoedge.clinic.archive.plan import Plan
from orthoedge.clinic.archive.progress import Progress
from orthoedge.runtime.errors import DataError


def names(inputs):
    return [each.name for each in inputs]


def test_a_folder_lists_its_images_and_what_cannot_be_read(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "b.jpg").touch()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    found = {each.name: each.source for each in list_inputs(str(tmp_path))}
    places = {str(tmp_path / "b.jpg"): "", str(tmp_path / "gone.png"): ""}
    assert found == {str(tmp_path / "site" / "a.png"): "site", **places}


def test_an_index_gives_labels_and_sources(tmp_path):
    index = tmp_path / "index.csv"
    index.write_text("path,label,source\nsub/../a.png,fracture,one\n/b.png,,\n")
    first, second = list_inputs(str(index))
    assert first == ArchiveInput(os.fsencode(tmp_path / "a.png"), "one", "fracture")
    assert second == ArchiveInput(b"/b.png", "", "")


def test_a_list_has_one_path_a_line_in_whatever_bytes(tmp_path):
    listed = tmp_path / "list"
    listed.write_bytes(b"a b.png\r\n\n/x\xff.png\n")
    first, second = list_inputs(str(listed))
    assert first.address == os.fsencode(tmp_path / "a b.png")
    assert second.address == b"/x\xff.png"
    assert second.name == "bytes:/x\\xff.png"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("index.csv", "label\nfracture\n", "line 1: column path is missing"),
        ("index.csv", "path,label\n,fracture\n", "line 2, column path: no path"),
        ("list.txt", "a\0b\n", "line 1: not a path"),
    ],
)
def test_a_line_that_names_nothing_is_an_error_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        list(list_inputs(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["absent", "absent.csv"])
def test_a_source_that_is_not_there_is_an_error(tmp_path, name):
    with pytest.raises(DataError, match="No such file"):
        list(list_inputs(str(tmp_path / name)))


def test_a_plan_is_the_source_once_without_what_is_done():
    inputs = [ArchiveInput(name, "") for name in (b"/c", b"/a", b"/b", b"/a", b"/d")]
    plan = Plan(iter(inputs))
    plan.leave_out(iter(["/b", "/elsewhere", "/b"]))
    assert (plan.listed, plan.left) == (4, 3)
    assert [names(share) for share in plan.shares(2)] == [["/c", "/a"], ["/d"]]
    plan.close()


PEAK = """
import resource, sys
from orthoedge.clinic.archive.plan import Plan
from orthoedge.clinic.archive.inputs.sources import ArchiveInput

inputs = (ArchiveInput(f"/archive/{i:09}.dcm".encode(), "") for i in range(int(sys.argv[1])))
plan = Plan(inputs)
assert sum(map(len, plan.shares(256))) == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_archive():
    # Both are beyond the database's cache of 16 MiB; a list of 300,000 more would take 60 MiB.
    few, many = (
        int(subprocess.check_output([sys.executable, "-c", PEAK, str(count)]))
        for count in (100_000, 400_000)
    )
    assert many - few < 4096  # KiB


@pytest.fixture
def files(tmp_path):
    found = []
    for number, size in enumerate([10, 20, 30, 5, 100, 1, 1, 1]):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]) * size)
        found.append(ArchiveInput(os.fsencode(path), ""))
    return found


@pytest.mark.parametrize("limit", [1, 35, 1000])
def test_no_more_is_read_ahead_than_the_limit(files, limit, monkeypatch):
    sizes = [os.stat(each.address).st_size for each in files]  # noqa: PTH116
    read, too_much = [], []
    original = module._read

    def watched(item, authorization):
        read.append(sizes[files.index(item)])
        held = sum(read) - sum(sizes[: done + 1])  # that in work may be given back already
        if held > max(limit, read[-1]):
            too_much.append(held)
        return original(item, authorization)

    monkeypatch.setattr(module, "_read", watched)
    done = -1
    for number, content in enumerate(read_ahead(files, limit, None)):
        done = number
        assert content.data == bytes([number]) * sizes[number]
    assert too_much == []


def test_the_next_is_read_while_one_is_in_work(files, monkeypatch):
    original, third = module._read, threading.Event()

    def watched(item, authorization):
        if item is files[2]:
            third.set()
        return original(item, authorization)

    monkeypatch.setattr(module, "_read", watched)
    contents = read_ahead(files, 1000, None)
    next(contents)
    assert third.wait(60)
    assert len(list(contents)) == len(files) - 1


def test_an_end_before_the_last_ends_the_thread(files):
    before = threading.active_count()
    contents = read_ahead(files, 1, None)
    next(contents)
    contents.close()
    assert threading.active_count() == before


def test_a_file_server_that_is_away_ends_the_run_and_gives_no_row(files, monkeypatch):
    def away(item, authorization):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(module, "_read", away)
    with pytest.raises(OSError, match="Stale"):
        list(read_ahead(files, 1000, None))


def test_what_is_left_is_a_range_where_the_rate_changed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress(listed=12_000, left=10_000)
    assert progress.line() == "2,000 of 12,000"
    now[0] = 100.0
    progress.add(1000, 0)
    assert progress.line() == "3,000 of 12,000, 10 a second, about 15 minutes left"
    for _ in range(10):
        now[0] += 100.0
        progress.add(100, 1)
    # 1.8 a second over all, 1 over the last minutes; 8,000 are left.
    assert progress.line() == (
        "4,000 of 12,000, 10 without an answer, 1 a second, 73 minutes to 2.2 hours left"
    )
    progress.add(8000, 0)
    assert progress.line() == "12,000 of 12,000, 10 without an answer"


def test_paths_that_differ_have_names_that_differ():
    paths = (
        b"/\xff",
        b"/\\xff",
        b"/\\\xff",
        b"/\\\\xff",
        b"/\xff\\xff",
        b"/\\xff\xff",
    )
    assert len({ArchiveInput(path, "").name for path in paths}) == len(paths)
