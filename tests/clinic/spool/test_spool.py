"""The spool keeps what it took, once, whatever is killed."""

import os
import signal
import subprocess
import sys

import pytest

from orthoedge.clinic.settings import QueueSettings
from orthoedge.clinic.spool.records import NewImage, NewObject
from orthoedge.clinic.spool.spool import Spool, check_uid
from orthoedge.clinic.spool.status import count_states
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.nodes import states


def new(uid="1.2.3", calling_ae="ROOM1"):
    return NewImage(uid, "1.2.840.10008.5.1.4.1.1.1", calling_ae, "127.0.0.1")


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool", QueueSettings(min_free_mb=1))
    yield opened
    opened.close()


@pytest.fixture
def incoming(spool):
    file = spool.incoming / "tmp123.dcm"
    file.write_bytes(b"content")
    return file


def test_an_image_is_kept_with_its_content_and_sender(spool, incoming):
    assert spool.add_image(incoming, new())
    image = spool.next_image()
    assert (image.uid, image.calling_ae, image.attempts) == ("1.2.3", "ROOM1", 1)
    assert (spool.folder / image.file).read_bytes() == b"content"


def test_the_same_instance_twice_is_one_entry(spool, incoming):
    assert spool.add_image(incoming, new())
    assert not spool.add_image(incoming, new())
    assert not spool.add_image(incoming, new(calling_ae="ROOM2"))
    assert len(list(spool.images.iterdir())) == 1
    assert states(spool)[0] == {"1.2.3": "received"}


def test_two_senders_of_one_instance_at_the_same_time_leave_one_file(spool, incoming, monkeypatch):
    assert spool.add_image(incoming, new())
    monkeypatch.setattr(spool, "_has", lambda uid: False)  # both looked before either entered it
    assert not spool.add_image(incoming, new(calling_ae="ROOM2"))
    assert not spool.add_image(incoming, new())
    assert len(list(spool.images.iterdir())) == 1


@pytest.mark.parametrize("uid", ["", "..", "1.2/3", "../1", "1.2 ", "1" * 65, "1.2.x", "1.2\n"])
def test_what_is_no_uid_never_names_a_file(spool, incoming, uid):
    with pytest.raises(InputError, match="not a UID"):
        spool.add_image(incoming, new(uid))
    with pytest.raises(InputError):
        check_uid(uid)
    assert list(spool.images.iterdir()) == []


def test_an_ae_title_with_slashes_stays_in_the_folder(spool, incoming):
    assert spool.add_image(incoming, new(calling_ae="../../A B"))
    (file,) = spool.images.iterdir()
    assert file.parent == spool.images
    assert spool.next_image().calling_ae == "../../A B"


_KILL = """
import os, signal
from pathlib import Path
from orthoedge.clinic.spool import spool as module
spool = module.Spool(Path(sys.argv[1]))
spool._enter = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spool.add_image(Path(sys.argv[2]), module.NewImage("1.2.3", "", "ROOM 1", "peer"))
"""


def test_a_kill_between_file_and_index_loses_and_doubles_nothing(spool, incoming):
    command = [*code_command(_KILL), str(spool.folder), str(incoming)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert states(spool)[0] == {}
    assert spool.recover() == 1
    assert spool.recover() == 0
    image = spool.next_image()
    assert (image.uid, image.calling_ae) == ("1.2.3", "ROOM 1")
    assert (spool.folder / image.file).read_bytes() == b"content"
    assert list(spool.incoming.iterdir()) == []


def test_a_retry_after_such_a_kill_is_one_entry(spool, incoming):
    subprocess.run([*code_command(_KILL), str(spool.folder), str(incoming)])
    assert spool.add_image(incoming, new(calling_ae="ROOM 1"))
    assert spool.recover() == 0
    assert len(list(spool.images.iterdir())) == 1


def test_an_image_that_ends_its_process_is_counted_and_waits_behind_others(spool, incoming):
    spool.add_image(incoming, new("1.1"))
    spool.add_image(incoming, new("1.2"))
    code = "from pathlib import Path\nfrom orthoedge.clinic.spool.spool import Spool\n"
    code += "import os\nSpool(Path(sys.argv[1])).next_image()\nos.kill(os.getpid(), 9)"
    ended = subprocess.run([*code_command(code), str(spool.folder)])
    assert ended.returncode == -signal.SIGKILL
    assert [(i.uid, i.attempts) for i in (spool.next_image(), spool.next_image())] == [
        ("1.2", 1),
        ("1.1", 2),
    ]


def test_an_attempt_that_was_given_back_does_not_count(spool, incoming):
    spool.add_image(incoming, new())
    spool.give_back(spool.next_image())
    assert spool.next_image().attempts == 1


def test_a_full_queue_refuses_new_images_until_old_ones_are_settled(tmp_path):
    spool = Spool(tmp_path / "spool", QueueSettings(max_images=1, min_free_mb=1))
    assert spool.refusal() == ""
    file = spool.incoming / "a"
    file.write_bytes(b"content")
    spool.add_image(file, new())
    spool._checked_at = float("-inf")
    assert spool.refusal() == "queue full: 1 images wait"
    spool.answer(spool.next_image(), "report", [])
    spool._checked_at = float("-inf")
    assert spool.refusal() == ""
    spool.close()


def test_a_disk_without_the_free_space_refuses(tmp_path):
    spool = Spool(tmp_path / "spool", QueueSettings(min_free_mb=1_000_000))
    assert spool.refusal().startswith("disk full")
    assert len(spool.refusal()) <= 64
    spool.close()


def object_for(spool, destination="pacs", uid="2.25.1", commitment=False):
    (spool.objects / f"{uid}.dcm").write_bytes(b"result")
    return NewObject(destination, "report", uid, "1.2", f"objects/{uid}.dcm", commitment)


def test_answering_twice_enters_the_objects_once(spool, incoming):
    spool.add_image(incoming, new())
    image = spool.next_image()
    for _ in range(2):
        spool.answer(image, "report", [object_for(spool)])
    assert states(spool) == ({"1.2.3": "answered"}, {("pacs", "report"): "waiting"})
    assert spool.next_image() is None


def test_a_buried_image_lies_in_the_dead_letter_folder_with_its_reason(spool, incoming):
    spool.add_image(incoming, new())
    spool.bury(spool.next_image(), "wrong modality CT")
    assert (spool.dead / "1.2.3.dcm").read_bytes() == b"content"
    assert (spool.dead / "1.2.3.txt").read_text() == "wrong modality CT\n"
    assert states(spool)[0] == {"1.2.3": "dead"}


def test_status_counts_images_and_objects_by_state(spool, incoming):
    for uid in ("1.1", "1.2"):
        spool.add_image(incoming, new(uid))
    spool.answer(spool.next_image(), "report", [object_for(spool)])
    spool.bury(spool.next_image(), "no reason")
    counts = [(c.what, c.state, c.count, c.reason) for c in count_states(spool)]
    assert counts == [
        ("image", "answered", 1, ""),
        ("image", "dead", 1, "no reason"),
        ("pacs", "waiting", 1, ""),
    ]


def test_a_damaged_index_is_one_line(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "index.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match=r"index\.sqlite: cannot be used"):
        Spool(folder)


def test_an_index_of_a_newer_program_is_refused(spool):
    with spool.index.transaction() as connection:
        connection.execute("PRAGMA user_version=9")
    with pytest.raises(DataError, match="of version 9"):
        Spool(spool.folder)


def test_the_spool_is_closed_to_other_users(spool):
    assert (os.stat(spool.folder).st_mode & 0o777) == 0o700  # noqa: PTH116
    assert sys.platform != "win32"
