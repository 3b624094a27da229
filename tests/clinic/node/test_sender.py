"""Objects reach their destination exactly once, however often it is away, refuses or stalls."""

import pytest

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sender import DestinationSender
from orthoedge.clinic.spool.records import NewObject
from orthoedge.clinic.spool.spool import Spool
from tests.helpers.clinic.campaign.proxy import FAULTS, proxy
from tests.helpers.clinic.images import CR
from tests.helpers.clinic.nodes import Lines, eventually, image, new_image, node_settings, states
from tests.helpers.clinic.peers import destination, free_port, server


@pytest.fixture
def sender_to(tmp_path):
    """Call it with a destination for its sender and the spool."""
    spools = []

    def make(to, count=1):
        settings = node_settings(tmp_path, destinations={"pacs": to})
        spool = Spool(settings.folder, settings.queue)
        spools.append(spool)
        for number in range(count):
            uid = f"1.2.{number + 3}"
            spool.add_image(image(tmp_path, uid), new_image(uid))
            item = spool.next_image()
            original = NewObject("pacs", "original", uid, CR, item.file, to.commitment)
            spool.answer(item, "report", [original])
        return DestinationSender("pacs", to, settings, spool, Lines()), spool

    yield make
    for spool in spools:
        spool.close()


def object_states(spool):
    return [state for (state,) in spool.index.read("SELECT state FROM objects ORDER BY number")]


def drive(sender, spool, until):
    def step():
        sender.step()
        return object_states(spool) == until

    eventually(step)


def test_objects_are_sent_once(sender_to):
    came = []

    def keep(event):
        came.append(event.request.AffectedSOPInstanceUID)
        return 0

    with server(store=keep) as port:
        sender, spool = sender_to(destination(port), count=3)
        assert sender.step()
        assert not sender.step()
    assert came == ["1.2.3", "1.2.4", "1.2.5"]
    assert object_states(spool) == ["sent"] * 3
    assert set(states(spool)[0].values()) == {"sent"}


def test_a_destination_that_is_down_gets_them_when_it_is_back(sender_to):
    port = free_port()
    sender, spool = sender_to(destination(port), count=2)
    sender.step()
    assert object_states(spool) == ["waiting"] * 2
    ((failures, reason),) = spool.index.read("SELECT failures, reason FROM destinations")
    assert failures == 1
    assert f"127.0.0.1:{port}" in reason
    assert not sender.step()  # it is left alone for a while
    with server() as port:
        back, _ = sender_to(destination(port), count=0)
        drive(back, spool, ["sent"] * 2)
    assert spool.index.read("SELECT * FROM destinations") == []


def test_an_object_that_is_put_off_is_sent_later_and_the_others_now(sender_to):
    answers = iter([0xA700, 0, 0])
    with server(store=lambda event: next(answers)) as port:
        sender, spool = sender_to(destination(port), count=2)
        sender.step()
        assert object_states(spool) == ["waiting", "sent"]
        drive(sender, spool, ["sent", "sent"])
    assert next(answers, None) is None


def test_an_object_that_is_refused_is_a_dead_letter_and_the_others_go_on(sender_to):
    answers = iter([0xC000, 0])
    with server(store=lambda event: next(answers)) as port:
        sender, spool = sender_to(destination(port), count=2)
        sender.step()
        sender.step()
    assert object_states(spool) == ["dead", "sent"]
    reason = (spool.dead / "pacs.1.2.3.txt").read_text()
    assert reason == "pacs refused the original: C-STORE answered 0xC000\n"


def test_an_object_at_which_the_peer_aborts_does_not_hold_up_the_others(sender_to):
    def answer(event):
        if event.request.AffectedSOPInstanceUID == "1.2.3":
            event.assoc.abort()
        return 0

    with server(store=answer) as port:
        sender, spool = sender_to(destination(port, timeout_s=1.0), count=3)
        drive(sender, spool, ["waiting", "sent", "sent"])


def test_a_line_that_breaks_or_stalls_costs_no_object(sender_to):
    came = set()

    def keep(event):
        came.add(event.request.AffectedSOPInstanceUID)
        return 0

    with server(store=keep) as port, proxy(port, len(FAULTS)) as line:
        sender, spool = sender_to(destination(line.port, timeout_s=1.0), count=3)
        drive(sender, spool, ["sent"] * 3)
        assert line.met
    assert came == {"1.2.3", "1.2.4", "1.2.5"}


def test_a_file_that_is_gone_is_said(sender_to, tmp_path):
    target = Destination(kind="folder", path=str(tmp_path / "out"))
    sender, spool = sender_to(target, count=2)
    (spool.images / f"1.2.3_{b'ROOM1'.hex()}.dcm").unlink()
    sender.step()
    assert object_states(spool) == ["dead", "sent"]
    assert [file.name for file in (tmp_path / "out").glob("*.dcm")] == ["1.2.4.dcm"]


def test_a_folder_gets_its_files(sender_to, tmp_path):
    target = Destination(kind="folder", path=str(tmp_path / "out"))
    sender, spool = sender_to(target)
    sender.step()
    assert (tmp_path / "out" / "1.2.3.dcm").is_file()
    assert states(spool)[0] == {"1.2.3": "sent"}
