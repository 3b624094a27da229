"""Every file of a folder is predicted or accounted for, and one bad argument costs one line."""

import json
import os
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from tests.helpers.hostile.files import pictures

PNG = pictures()["grey.png"]


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def predict(bundle, capsys):
    """Call it with arguments for the exit code, the records by name, and the lines of stderr."""

    def run(*arguments):
        code = main(["predict", *map(str, arguments), "--json", *bundle])
        captured = capsys.readouterr()
        records = [json.loads(line) for line in captured.out.splitlines()]
        assert "Traceback" not in captured.err
        return code, records, captured.err.splitlines()

    return run


def failed(records):
    return [record["error"] is not None for record in records]


def test_files_without_a_suffix_and_behind_links_are_predicted(inbox, predict, tmp_path):
    for name in ("IM000001", "1.2.840.113619.2.55.3", "scan.jfif"):
        (inbox / name).write_bytes(PNG)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "IM2").write_bytes(PNG)
    (inbox / "link").symlink_to(tmp_path / "other")
    code, records, lines = predict(inbox)
    assert (code, failed(records), lines) == (0, [False] * 4, [])


def test_what_is_passed_over_is_counted_and_named(inbox, predict):
    (inbox / "IM1").write_bytes(PNG)
    for name in ("notes.txt", "Thumbs.db", "line\nbreak"):
        (inbox / name).write_bytes(b"no image")
    (inbox / "loop").symlink_to(".")
    code, records, lines = predict(inbox)
    assert (code, failed(records)) == (0, [False])
    (line,) = lines
    assert line.startswith("orthoedge: passed over 4 entries")
    for name in ("notes.txt", "Thumbs.db", "line\\nbreak", "loop (a link to a folder"):
        assert name in line


def test_without_names_only_the_count_is_given(inbox, predict):
    (inbox / "IM1").write_bytes(PNG)
    (inbox / "Doe_Jane.txt").write_bytes(b"no image")
    assert predict(inbox, "--no-names")[2] == ["orthoedge: passed over 1 entry"]


def test_a_folder_without_images_says_what_it_holds(inbox, bundle, only_line):
    (inbox / "Doe_Jane.txt").write_bytes(b"no image")
    assert main(["predict", str(inbox), *bundle]) == 2
    assert "Doe_Jane.txt" in only_line()
    assert main(["predict", str(inbox), "--no-names", *bundle]) == 2
    line = only_line()
    assert "passed over 1 entry" in line
    assert "Doe" not in line
    assert str(inbox) not in line


def test_an_unreadable_folder_is_one_failure(inbox, predict, without_root):
    (inbox / "IM1").write_bytes(PNG)
    (inbox / "locked").mkdir(mode=0)
    with without_root():
        code, records, lines = predict(inbox)
    assert (code, failed(records)) == (1, [False, True])
    assert records[1]["error"] == "cannot read it: Permission denied"
    assert str(inbox / "locked") in lines[0]
    assert lines[1] == "orthoedge: 1 of 2 files failed"


LOOKED_AT = {
    "a long name": lambda folder: folder / ("b" * 300 + ".png"),
    "a long path": lambda folder: folder.joinpath(*["b" * 200] * 25),
    "a NUL": lambda folder: folder / "a\0b.png",
    "no text in any encoding": lambda folder: folder / "\ud800.png",
    "bytes that are no UTF-8": lambda folder: folder / os.fsdecode(b"\xff.png"),
    "a file as a folder": lambda folder: folder / "good.png" / "b.png",
    "a loop of links": lambda folder: folder / "loop",
    "below a loop of links": lambda folder: folder / "loop" / "b.png",
    "a link to nothing": lambda folder: folder / "broken",
    "a device": lambda folder: Path("/dev/null"),
    "a pipe": lambda folder: folder / "pipe",
    "a forbidden file": lambda folder: folder / "locked" / "b.png",
}


# Other processes, which take a second to start, have root's rights and no such arguments.
ELSEWHERE = ("a long name", "bytes that are no UTF-8", "a loop of links", "a pipe")


@pytest.mark.parametrize(
    ("name", "more"),
    [(name, more) for name in LOOKED_AT for more in ([], ["--overlay"])]
    + [(name, more) for name in ELSEWHERE for more in (["--jobs", "2"], ["--isolate"])],
)
def test_a_path_that_cannot_be_looked_at_is_one_failed_file(
    name, more, inbox, predict, tmp_path, without_root
):
    good = inbox / "good.png"
    good.write_bytes(PNG)
    (inbox / "loop").symlink_to("loop")
    (inbox / "broken").symlink_to("absent")
    (inbox / "locked").mkdir(mode=0)
    os.mkfifo(inbox / "pipe")
    more = [*more, tmp_path / "out"] if more == ["--overlay"] else more
    with without_root():
        code, records, lines = predict(good, LOOKED_AT[name](inbox), good, *more)
    assert (code, failed(records)) == (1, [False, True, False])
    assert lines[-1] == "orthoedge: 1 of 3 files failed"
    assert len(lines) == 2


def test_a_file_that_vanishes_is_one_failed_file(inbox, predict, monkeypatch):
    from orthoedge.runtime.image_io import folder

    for name in ("a.png", "b.png", "c.png"):
        (inbox / name).write_bytes(PNG)
    found = folder.list_folder

    def vanish(path):
        contents = found(path)
        (inbox / "b.png").unlink()
        return contents

    monkeypatch.setattr(folder, "list_folder", vanish)
    code, records, _ = predict(inbox)
    assert (code, failed(records)) == (1, [False, True, False])
    assert records[1]["error"] == "no such file"


def test_pictures_are_named_by_the_whole_uid_and_a_long_name_is_cut(inbox, predict, tmp_path):
    names = ["1.2.840.113619.2.55.3", "1.2.840.113619.2.55.4", "c" * 250 + ".png", "d.png"]
    for name in names:
        (inbox / name).write_bytes(PNG)
    code, records, _ = predict(inbox, "--overlay", tmp_path / "out")
    assert code == 0
    written = [Path(record["overlay"]).name for record in records]
    assert written == [f"{name}.png" for name in names[:2]] + ["c" * 240 + ".png", "d.png"]


def test_pictures_of_one_name_in_many_folders_or_in_another_case_all_have_a_place():
    from orthoedge.cli.commands.predict import _plan

    paths = [Path(f"{number}/IM000001") for number in range(1500)]
    paths += [Path(f"{number}/{'d' * 250}") for number in range(3)]
    paths += [Path("A.png"), Path("a.png"), Path("a.side.dcm"), Path("a_2.png")]
    tasks = list(_plan([(path, "") for path in paths], Path("out"), named=True))
    names = [picture.name for task in tasks for picture in task.pictures]
    assert len({name.casefold() for name in names}) == len(names)  # exFAT, SMB
    assert max(len(name) for name in names) <= 255
    assert names[0] == "IM000001.png"


def test_a_row_of_an_index_with_an_impossible_path_is_named(tmp_path, capsys, bundle):
    (tmp_path / "index.csv").write_text(f"path,label\n{'b' * 300}.png,fracture\n")
    assert main(["verify", bundle[1], "--data", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert "index.csv, line 2, column path: no file" in line


def test_class_folders_follow_the_same_rule(tmp_path, capsys):
    from orthoedge.runtime.errors import DataError
    from orthoedge.training.data.index import read_index

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "IM1").write_bytes(PNG)
    (tmp_path / "a" / "notes.txt").write_bytes(b"text")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "loose.png").write_bytes(PNG)
    assert [(r.path.name, r.label) for r in read_index(tmp_path)] == [("IM1", "a"), ("IM1", "b")]
    line = capsys.readouterr().err
    assert line.startswith("passed over 3 entries")
    assert all(name in line for name in ("notes.txt", "loose.png", "up"))
    (tmp_path / "b" / "gone.dcm").symlink_to("absent")
    with pytest.raises(DataError, match=r"gone\.dcm: cannot be read: No such file"):
        read_index(tmp_path)
