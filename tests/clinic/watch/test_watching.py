"""A folder's files are taken once they have stopped growing, each once, and never touched."""

import errno
import os

import pytest

from orthoedge.clinic.answering import Worker
from orthoedge.clinic.destination import Destination, Rules
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.watch.changes import Changes, observe
from orthoedge.clinic.watch.journal import Journal
from orthoedge.clinic.watch.watcher import Watcher
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.overlay.png_source import source_of
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.nodes import UID, Lines, eventually, node_settings, states


@pytest.fixture(scope="module")
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="portable")


class Folder:
    """A watched folder with a clock that a test moves."""

    def __init__(self, base, maker, destinations=None):
        self.maker = maker
        self.path, self.results = base / "in", base / "out"
        self.path.mkdir(exist_ok=True)
        results = Destination(kind="folder", path=str(self.results))
        self.settings = node_settings(base, destinations=destinations or {"results": results})
        self.clock = 1000.0
        self.log = Lines()
        self.opened = []
        self.start()

    def start(self):
        """Begin with what is on the disk, as after a kill."""
        self.spool = Spool(self.settings.folder, self.settings.queue)
        self.journal = Journal(self.settings.folder)
        self.opened += [self.spool, self.journal]
        self.spool.recover()
        self.changes = Changes(self.path, 1.0)
        self.watcher = Watcher(self.path, self.spool, self.journal, self.changes, self.log)

    def wait(self, seconds=10.0):
        end = self.clock + seconds
        while self.clock < end:
            self.clock += max(0.25, self.watcher.step(self.clock))

    def put(self, name, content):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def events(self):
        return self.log.events()

    def waiting(self):
        return [row[0] for row in self.spool.index.read("SELECT uid FROM images ORDER BY uid")]

    def answer_all(self, pipeline):
        worker = Worker(self.settings, self.spool, pipeline, self.maker, self.log)
        while (image := self.spool.next_image()) is not None:
            worker.answer(image)


@pytest.fixture
def folder(tmp_path, maker):
    made = Folder(tmp_path, maker)
    yield made
    for each in made.opened:
        each.close()


def radiograph(uid):
    return image_file({UID: ("UI", uid)})


def test_a_file_is_taken_once_it_has_stopped_growing(folder):
    content = radiograph("1.2.3")
    for part in range(1, 5):
        folder.put("a.dcm", content[: part * 1000])
        folder.wait(1.5)
        assert folder.waiting() == []
    folder.put("a.dcm", content)
    folder.wait()
    assert folder.waiting() == ["1.2.3"]
    (file,) = folder.spool.images.iterdir()
    assert file.read_bytes() == content


def test_originals_stay_as_they_are(folder, pipeline, png):
    files = {folder.put("a.dcm", radiograph("1.2.3")), folder.put("sub/b.png", png)}
    before = {file: (file.read_bytes(), file.stat()) for file in files}
    folder.wait()
    folder.answer_all(pipeline)
    assert {file for file in folder.path.rglob("*") if file.is_file()} == files
    for file, (content, status) in before.items():
        assert file.read_bytes() == content
        now = file.stat()
        assert (now.st_ino, now.st_mtime_ns, now.st_mode, now.st_nlink) == (
            *(status.st_ino, status.st_mtime_ns, status.st_mode, status.st_nlink),
        )


def test_a_restart_takes_nothing_twice_and_loses_nothing(folder, pipeline, png):
    folder.put("a.dcm", radiograph("1.2.3"))
    folder.put("b.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    folder.put("c.dcm", radiograph("1.2.4"))
    folder.start()
    folder.wait()
    assert folder.events().count("image taken") == 3
    assert "image taken before" not in folder.events()


@pytest.mark.parametrize("place", ["add_image", "end"])
def test_a_kill_while_a_file_is_taken_loses_and_doubles_nothing(folder, monkeypatch, place):
    def end(*_, **__):
        raise KeyboardInterrupt

    folder.put("a.dcm", radiograph("1.2.3"))
    target = folder.spool if place == "add_image" else folder.journal
    monkeypatch.setattr(target, place, end)
    with pytest.raises(KeyboardInterrupt):
        folder.wait()
    folder.start()
    folder.wait()
    assert folder.waiting() == ["1.2.3"]
    assert len(list(folder.spool.images.iterdir())) == 1
    assert list(folder.spool.incoming.iterdir()) == []


def test_a_picture_gets_its_finding_and_the_map_under_its_own_name(folder, pipeline, png):
    import msgspec

    folder.put("ward/hand.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    finding = msgspec.json.decode((folder.results / "ward" / "hand.png.json").read_bytes())
    assert finding["decision"] in ("report", "refer", "reject")
    assert (folder.results / "ward" / "hand.png.png").read_bytes().startswith(b"\x89PNG")
    assert "hand" not in str(folder.log.lines)  # names may identify patients


def test_a_bad_file_is_one_line_and_a_record_and_the_next_is_answered(folder, pipeline, png):
    folder.put("bad.png", png[:300])
    folder.put("good.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    (line,) = (each for each in folder.log.lines if "dead-letter" in each["event"])
    (record,) = folder.spool.dead.glob("*.txt")
    reason, name = record.read_text().splitlines()
    assert (reason, name) == (line["reason"], "file: bad.png")
    assert (folder.results / "good.png.json").is_file()
    assert not (folder.results / "bad.png.json").exists()


def test_a_file_that_was_taken_too_early_is_taken_again_when_it_is_complete(folder, pipeline):
    content = radiograph("1.2.3")
    folder.put("a.dcm", content[:-4000])
    folder.wait()
    folder.answer_all(pipeline)
    assert states(folder.spool)[0] == {"1.2.3": "dead"}
    folder.put("a.dcm", content)
    folder.wait()
    folder.answer_all(pipeline)
    assert states(folder.spool)[0] == {"1.2.3": "answered"}
    assert list(folder.spool.dead.iterdir()) == []


def test_what_is_no_finished_image_is_left_alone(folder):
    content = radiograph("1.2.3")
    for name in (".hidden.dcm", "a.dcm.part", ".sub/a.dcm", "notes.txt"):
        folder.put(name, b"some words" if name == "notes.txt" else content)
    (folder.path / "link.dcm").symlink_to(folder.path / ".hidden.dcm")
    os.mkfifo(folder.path / "pipe.dcm")
    folder.wait()
    assert folder.waiting() == []
    assert folder.events() == ["passed over: not an image"]


def test_the_same_instance_under_two_names_is_answered_once(folder):
    for name in ("a.dcm", "b.dcm"):
        folder.put(name, radiograph("1.2.3"))
    folder.wait()
    assert folder.events() == ["image taken", "image taken before"]


def test_a_folder_that_is_gone_for_a_while_does_not_stop_the_watcher(folder):
    folder.put("a.dcm", radiograph("1.2.3"))
    folder.wait()
    aside = folder.path.rename(folder.path.with_name("unmounted"))
    folder.wait(30)
    folder.wait(30)
    assert folder.events().count("takes no files at the moment") == 1
    aside.rename(folder.path)
    folder.put("b.dcm", radiograph("1.2.4"))
    folder.wait(30)
    assert folder.events().count("image taken") == 2


def test_a_full_queue_takes_no_files_and_loses_none(folder, monkeypatch):
    folder.put("a.dcm", radiograph("1.2.3"))
    monkeypatch.setattr(folder.spool, "refusal", lambda: "queue full: 1 image waits")
    folder.wait(30)
    assert folder.waiting() == []
    monkeypatch.undo()
    folder.wait()
    assert folder.waiting() == ["1.2.3"]


def test_a_picture_needs_a_folder_among_the_destinations(tmp_path, pipeline, maker, png):
    pacs = Destination(kind="dicom", host="localhost", port=104, ae_title="PACS")
    folder = Folder(tmp_path, maker, {"pacs": pacs})
    folder.put("a.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    assert "kind = 'folder'" in folder.log.lines[-1]["reason"]


def test_results_of_another_file_are_never_replaced(folder, pipeline, png):
    """On a disk where A.png and a.png are one name, and where something else was there before."""
    folder.put("a.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    mine = folder.results / "a.png.png"
    before = mine.read_bytes()
    assert source_of(mine) == sha256(b"a.png")
    mine.rename(folder.results / "b.png.png")
    (folder.results / "c.png.png").write_bytes(b"of the user")
    folder.put("b.png", png)
    folder.put("c.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    assert (folder.results / "b.png.png").read_bytes() == before
    assert (folder.results / "c.png.png").read_bytes() == b"of the user"
    assert not (folder.results / "b.png.json").exists()
    assert not (folder.results / "c.png.json").exists()
    (reason,) = {file.read_text().splitlines()[0] for file in folder.spool.dead.glob("*.txt")}
    assert reason == "its results would replace a picture that is not of this file; rename the file"


@pytest.mark.parametrize("name", ["x" * 249 + ".png", "a.png"])
def test_a_name_that_results_cannot_have_holds_up_no_other_file(folder, pipeline, png, name):
    (folder.results / "a.png.json").mkdir(parents=True)
    folder.put(name, png)
    folder.put("z.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    assert "cannot be written under its name" in next(folder.spool.dead.glob("*.txt")).read_text()
    assert (folder.results / "z.png.json").is_file()


def test_a_full_disk_of_results_is_waited_for(folder, pipeline, png, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.put("a.png", png)
    folder.wait()
    with monkeypatch.context() as full:
        full.setattr("orthoedge.runtime.atomic_files.write_together", fail)
        with pytest.raises(OSError, match="No space"):
            folder.answer_all(pipeline)
    folder.answer_all(pipeline)
    assert (folder.results / "a.png.json").is_file()


def test_a_file_that_cannot_be_read_is_one_line_and_taken_when_it_can(folder, monkeypatch):
    def refuse(name, state):
        if name == "a.dcm":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder.path / name))
        return take(name, state)

    take = folder.watcher._intake.take
    monkeypatch.setattr(folder.watcher._intake, "take", refuse)
    folder.put("a.dcm", radiograph("1.2.3"))
    folder.put("b.dcm", radiograph("1.2.4"))
    folder.wait(300)
    assert folder.waiting() == ["1.2.4"]
    assert folder.events().count("cannot read a file, tried again") == 1
    monkeypatch.undo()
    folder.wait(100)
    assert folder.waiting() == ["1.2.3", "1.2.4"]


def test_a_full_disk_of_the_spool_is_one_line(folder, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.put("a.dcm", radiograph("1.2.3"))
    folder.put("b.dcm", radiograph("1.2.4"))
    with monkeypatch.context() as full:
        full.setattr("orthoedge.clinic.watch.intake.os.fsync", fail)
        folder.wait(60)
    assert folder.events() == ["cannot copy a file to the spool, tried again"]
    assert list(folder.spool.incoming.iterdir()) == []
    folder.wait(20)
    assert folder.waiting() == ["1.2.3", "1.2.4"]


@pytest.mark.parametrize("uid", ["...", "..", ""])
def test_a_dicom_file_with_a_uid_that_names_no_file_does_not_end_the_watcher(folder, uid):
    folder.put("a.dcm", radiograph(uid))
    folder.put("b.dcm", radiograph("1.2.4"))
    folder.wait()
    assert folder.events() == ["image taken", "image taken"]
    assert "1.2.4" in folder.waiting()


def test_many_files_are_all_taken(folder):
    for number in range(40):
        folder.put(f"{number}.dcm", radiograph(f"1.2.{number}"))
    folder.wait()
    assert len(folder.waiting()) == 40


def test_rules_hold_for_pictures(tmp_path, pipeline, maker, png):
    def to(name, **rules):
        return Destination(kind="folder", path=str(tmp_path / name), rules=Rules(**rules))

    destinations = {
        "all": to("all"),
        "hands": to("hands", body_part=("HAND",)),
        "watched": to("watched", calling_ae=("WATCH",)),
    }
    folder = Folder(tmp_path, maker, destinations)
    folder.put("a.png", png)
    folder.wait()
    folder.answer_all(pipeline)
    written = {file.parent.name for file in tmp_path.rglob("a.png.json")}
    assert written == {"all", "watched"}


def test_the_system_tells_of_files_that_are_written_and_moved_in(tmp_path):
    watched = tmp_path / "in"
    watched.mkdir()
    (tmp_path / "b").write_bytes(b"1")
    seen = set()
    with observe(watched, Lines()) as changes:
        assert changes.take() is None  # at first, all of it is looked at
        (watched / "a").write_bytes(b"1")
        (tmp_path / "b").rename(watched / "b")
        eventually(lambda: seen.update(changes.take() or ()) or seen == {"a", "b"})


def test_a_network_file_system_is_looked_at_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr("orthoedge.clinic.watch.changes.file_system", lambda _: "nfs4")
    log = Lines()
    with observe(tmp_path, log) as changes:
        assert changes.look_again_s == 2.0
    assert log.lines[0]["reason"] == "nfs4 is a network file system"


@pytest.fixture(scope="module")
def png():
    import cv2

    from tests.helpers.clinic.images import limb

    return cv2.imencode(".png", (limb(300, 240) >> 4).astype("uint8"))[1].tobytes()
