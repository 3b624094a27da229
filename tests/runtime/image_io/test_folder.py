"""A folder is listed by content: every radiograph in it, and a record of everything else."""

import os
import socket
from pathlib import Path

import pytest

from orthoedge.runtime import InputError, find_images, read_image
from orthoedge.runtime.image_io.folder import list_folder
from tests.helpers.hostile.files import pictures, scans

PNG = pictures()["grey.png"]
DICOM = next(iter(scans().values()))
CONTENTS = {**pictures(), **scans()}


def reasons(contents, folder):
    return {str(entry.path.relative_to(folder)): entry.reason for entry in contents.passed_over}


@pytest.mark.parametrize("name", CONTENTS)
def test_each_format_is_found_under_a_name_without_a_suffix(name, tmp_path):
    for chosen in ("IM000001", "CR.1.2.276.0.7230010.3.1.4.1", "a.png.part", "scan.jfif", "Ä b\n"):
        (tmp_path / chosen).write_bytes(CONTENTS[name])
    assert find_images(tmp_path) == sorted(tmp_path.iterdir())
    assert list_folder(tmp_path).line() == ""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.txt", b"a text"),
        ("BMI.csv", b"BMI,age\n24.1,70\n"),  # begins with the letters of a bitmap
        ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)),
        (".DS_Store", b"\0\0\0\1Bud1" + bytes(500)),
        ("._a.png", b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(400)),
        ("archive.zip", b"PK\3\4" + bytes(300)),
        ("report.pdf", b"%PDF-1.7\n" + bytes(300)),
        ("empty", b""),
        ("short", b"II"),
    ],
)
def test_what_is_no_image_is_passed_over_and_named(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "IM1").write_bytes(PNG)
    contents = list_folder(tmp_path)
    assert contents.images == (tmp_path / "IM1",)
    assert reasons(contents, tmp_path) == {name: "not an image"}
    assert contents.line() == f"passed over 1 entry that is no image: {tmp_path / name}"
    assert contents.line(names=False) == "passed over 1 entry"


def test_only_the_first_names_are_given_with_the_count(tmp_path):
    for number in range(1203):
        (tmp_path / f"{number:04}.txt").touch()
    line = list_folder(tmp_path).line()
    assert line.startswith("passed over 1,203 entries that are no image: ")
    assert line.endswith(f"{tmp_path}/0004.txt, and 1,198 more")


def test_a_file_with_the_suffix_of_an_image_is_listed_whatever_it_holds(tmp_path):
    (tmp_path / "cut.DCM").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"text")
    assert find_images(tmp_path) == [tmp_path / "cut.DCM", tmp_path / "text.png"]


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir;1", "INDEX"])
def test_the_directory_of_a_medium_is_no_radiograph(name, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.FileSetID = "CD"
    dataset.save_as(tmp_path / name, enforce_file_format=True)
    assert reasons(list_folder(tmp_path), tmp_path) == {name: "a DICOM directory"}


def test_links_to_files_and_folders_are_followed(tmp_path):
    outside, inside = tmp_path / "store", tmp_path / "inbox"
    (outside / "deep").mkdir(parents=True)
    inside.mkdir()
    (outside / "IM1").write_bytes(PNG)
    (outside / "deep" / "IM2").write_bytes(DICOM)
    (inside / "day").symlink_to(outside)
    (inside / "one").symlink_to(outside / "IM1")
    expected = [inside / "day" / "IM1", inside / "day" / "deep" / "IM2", inside / "one"]
    assert find_images(inside) == expected
    assert list_folder(inside).passed_over == ()


def test_a_folder_is_listed_once_and_under_its_own_name(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "IM1").write_bytes(PNG)
    (tmp_path / "a").symlink_to("b")  # would come first by name
    (tmp_path / "b" / "d").symlink_to("../c")
    contents = list_folder(tmp_path)
    assert contents.images == (tmp_path / "b" / "IM1", tmp_path / "c" / "IM1")
    again = "a link to a folder that is listed already"
    assert reasons(contents, tmp_path) == {"a": again, "b/d": again}


def test_loops_end_and_are_named(tmp_path):
    inbox = tmp_path / "ward" / "inbox"
    (inbox / "day").mkdir(parents=True)
    (tmp_path / "ward" / "other.png").write_bytes(PNG)
    (inbox / "day" / "IM1").write_bytes(PNG)
    (inbox / "day" / "up").symlink_to("..")
    (inbox / "day" / "self").symlink_to(".")
    (inbox / "far").symlink_to(tmp_path / "ward")  # holds the folder that was asked for
    contents = list_folder(inbox)
    assert contents.images == (inbox / "day" / "IM1",)
    assert reasons(contents, inbox).keys() == {"day/up", "day/self", "far"}


@pytest.mark.parametrize("target", ["nothing", "self", "a" * 300])
def test_a_link_that_leads_nowhere_is_unreadable_not_absent(target, tmp_path):
    (tmp_path / "self").symlink_to(target)
    (tmp_path / "IM1").write_bytes(PNG)
    assert [entry.path for entry in list_folder(tmp_path).unreadable] == [tmp_path / "self"]
    assert find_images(tmp_path) == [tmp_path / "IM1", tmp_path / "self"]
    with pytest.raises(InputError):
        read_image(tmp_path / "self")


def test_what_may_not_be_read_is_listed_so_that_reading_it_says_why(tmp_path, without_root):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "IM1").write_bytes(PNG)
    (tmp_path / "IM2").write_bytes(PNG)
    (tmp_path / "IM3").write_bytes(PNG)
    (tmp_path / "locked").chmod(0)
    (tmp_path / "IM2").chmod(0)
    with without_root():
        contents = list_folder(tmp_path)
        assert find_images(tmp_path) == [tmp_path / name for name in ("IM2", "IM3", "locked")]
        for entry in contents.unreadable:
            assert entry.reason == "Permission denied"
            with pytest.raises(InputError, match="Permission denied"):
                read_image(entry.path)
    (tmp_path / "locked").chmod(0o700)
    assert [entry.path.name for entry in contents.unreadable] == ["IM2", "locked"]


def test_pipes_and_sockets_are_passed_over_and_none_is_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        contents = list_folder(tmp_path)
    assert reasons(contents, tmp_path).keys() == {"pipe.png", "socket"}


def test_a_file_that_another_program_is_still_writing_is_passed_over(tmp_path):
    (tmp_path / ".orthoedge-0011223344556677.tmp").write_bytes(PNG)
    assert [e.reason for e in list_folder(tmp_path).passed_over] == ["an unfinished file"]


def test_names_that_are_no_text_are_kept(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    path.write_bytes(PNG)
    assert find_images(tmp_path) == [path]
    assert read_image(path).pixels.ndim == 2


@pytest.mark.parametrize("name", ["absent", "b" * 300, "a\0b"])
def test_a_folder_that_cannot_be_looked_at_is_listed_itself(name, tmp_path):
    assert find_images(tmp_path / name) == [tmp_path / name]


def test_a_deep_tree_is_listed_to_the_end(tmp_path):
    deepest = Path(tmp_path)
    for _ in range(60):
        deepest = deepest / "folder"
    deepest.mkdir(parents=True)
    (deepest / "IM1").write_bytes(DICOM)
    assert find_images(tmp_path) == [deepest / "IM1"]
