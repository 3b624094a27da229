"""Objects are sent until a destination has them; one that is away is left alone for a while."""

import pytest

from orthoedge.clinic.settings import QueueSettings, RetentionSettings, SendingSettings
from orthoedge.clinic.spool import spool as spool_module
from orthoedge.clinic.spool.outbox import Outbox, apply_reports, retry_delay
from orthoedge.clinic.spool.records import NewImage, NewObject, Report
from orthoedge.clinic.spool.retention import apply_retention
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.spool.status import count_states
from tests.helpers.clinic.nodes import set_back, states

SETTINGS = SendingSettings(retry_s=100, longest_retry_s=1000)
DAY = 86400


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool", QueueSettings(min_free_mb=1))
    yield opened
    opened.close()


@pytest.fixture
def outbox(spool):
    return Outbox(spool, "pacs", SETTINGS)


def answered(spool, uid="1.2.3", *, commitment=False, destinations=("pacs",)):
    """An image with one result for each destination."""
    file = spool.incoming / "a"
    file.write_bytes(b"content")
    spool.add_image(file, NewImage(uid, "1.2", "ROOM1", "127.0.0.1"))
    (spool.objects / f"9.{uid}.dcm").write_bytes(b"result")
    spool.answer(
        spool.next_image(),
        "report",
        [
            NewObject(name, "report", f"9.{uid}", "1.2", f"objects/9.{uid}.dcm", commitment)
            for name in destinations
        ],
    )


def test_an_image_is_sent_once_every_destination_has_its_objects(spool, outbox):
    answered(spool, destinations=("pacs", "archive"))
    outbox.stored(outbox.due())
    assert states(spool)[0] == {"1.2.3": "answered"}
    other = Outbox(spool, "archive", SETTINGS)
    other.stored(other.due())
    assert states(spool)[0] == {"1.2.3": "sent"}
    assert outbox.due() == []


def test_the_delay_doubles_up_to_the_longest():
    delays = [retry_delay(SETTINGS, failures) for failures in (0, 1, 2, 3, 50)]
    for delay, base in zip(delays, (100, 200, 400, 800, 1000), strict=True):
        assert base <= delay <= 1.25 * base


def test_an_object_that_failed_waits_and_lets_others_go_first(spool, outbox):
    answered(spool, "1.1")
    answered(spool, "1.2")
    outbox.retry(outbox.due()[0], "busy")
    assert [item.image for item in outbox.due()] == ["1.2"]
    set_back(spool, 200)
    assert [item.image for item in outbox.due()] == ["1.2", "1.1"]


def test_a_destination_that_is_down_is_left_alone_longer_each_time(spool, outbox):
    answered(spool)
    first, second = outbox.back_off("no answer"), outbox.back_off("no answer")
    assert 100 <= first <= 125
    assert 200 <= second <= 250
    assert outbox.due() == []
    set_back(spool, 300)
    assert len(outbox.due()) == 1


def test_a_destination_that_answers_again_starts_with_the_first_delay(spool, outbox):
    answered(spool)
    outbox.back_off("no answer")
    outbox.reached()
    assert len(outbox.due()) == 1
    assert outbox.back_off("no answer") <= 125


def test_a_clock_that_is_set_back_does_not_stop_sending(spool, outbox):
    answered(spool)
    outbox.back_off("no answer")
    set_back(spool, -10 * DAY)
    assert len(outbox.due()) == 1


def test_a_refused_object_lies_in_the_dead_letter_folder_with_its_reason(spool, outbox):
    answered(spool)
    outbox.refused(outbox.due()[0], "C-STORE answered 0xA900")
    name = "pacs.9.1.2.3"
    assert (spool.dead / f"{name}.dcm").read_bytes() == b"result"
    reason = "pacs refused the report: C-STORE answered 0xA900\n"
    assert (spool.dead / f"{name}.txt").read_text() == reason
    assert states(spool) == ({"1.2.3": "answered"}, {("pacs", "report"): "dead"})
    assert outbox.due() == []


def test_a_kill_while_a_dead_letter_is_written_leaves_none_that_retention_does_not_find(
    spool, outbox, monkeypatch
):
    answered(spool)

    def killed(*_):
        raise KeyboardInterrupt

    for step in ("link", "write_atomic"):
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os if step == "link" else spool_module, step, killed)
            with pytest.raises(KeyboardInterrupt):
                outbox.refused(outbox.due()[0], "no")
        found = {file.stem for file in spool.dead.glob("*.txt")}
        assert {file.stem for file in spool.dead.glob("*.dcm")} <= found


def test_commitment_confirms(spool, outbox):
    answered(spool, commitment=True)
    outbox.stored(outbox.due())
    assert states(spool)[0] == {"1.2.3": "sent"}
    outbox.ask(outbox.uncommitted(), "2.25.7")
    assert outbox.uncommitted() == []
    report = Report("2.25.7", "9.1.2.3", "")
    assert apply_reports(spool, [report], SETTINGS) == [report]
    assert states(spool) == ({"1.2.3": "confirmed"}, {("pacs", "report"): "confirmed"})


def test_what_is_not_committed_is_sent_again(spool, outbox):
    answered(spool, commitment=True)
    outbox.stored(outbox.due())
    outbox.ask(outbox.uncommitted(), "2.25.7")
    apply_reports(spool, [Report("2.25.7", "9.1.2.3", "no such object instance")], SETTINGS)
    assert states(spool)[0] == {"1.2.3": "answered"}
    set_back(spool, 200)
    (item,) = outbox.due()
    assert item.attempts == 1


@pytest.mark.parametrize(
    ("transaction", "uid"), [("2.25.8", "9.1.2.3"), ("", "9.1.2.3"), ("2.25.7", "9")]
)
def test_a_report_on_anything_else_has_no_effect(spool, outbox, transaction, uid):
    answered(spool, commitment=True)
    outbox.stored(outbox.due())
    outbox.ask(outbox.uncommitted(), "2.25.7")
    assert apply_reports(spool, [Report(transaction, uid, "")], SETTINGS) == []
    assert states(spool)[0] == {"1.2.3": "sent"}


def test_commitment_that_is_not_reported_is_asked_for_again(spool, outbox):
    answered(spool, commitment=True)
    outbox.stored(outbox.due())
    outbox.ask(outbox.uncommitted(), "2.25.7")
    set_back(spool, SETTINGS.commitment_s + 1)
    assert len(outbox.uncommitted()) == 1


def test_requests_that_fail_are_made_less_often_each_time(spool, outbox):
    answered(spool, "1.1", commitment=True)
    outbox.stored(outbox.due())
    outbox.ask(outbox.uncommitted(), "2.25.7")
    first = outbox.ask_later(sent(spool), "no answer")
    assert outbox.uncommitted() == []
    set_back(spool, 200)
    again = Outbox(spool, "pacs", SETTINGS)  # as after a restart
    delays = [again.ask_later(again.uncommitted(), "no answer")]
    for _ in range(5):
        assert again.uncommitted() == []
        set_back(spool, 2000)
        delays.append(again.ask_later(again.uncommitted(), "no answer"))
    for delay, base in zip([first, *delays], (100, 200, 400, 800, 1000, 1000, 1000), strict=True):
        assert base <= delay <= 1.25 * base


def sent(spool):
    """Objects whose commitment is requested, as the sender holds them."""
    items = Outbox(spool, "pacs", SETTINGS)
    with spool.index.transaction() as connection:
        connection.execute("UPDATE objects SET ask_at = 0")
    return items.uncommitted()


def test_a_request_that_is_taken_ends_the_pause_of_requests(spool, outbox):
    answered(spool, "1.1", commitment=True)
    outbox.stored(outbox.due())
    outbox.ask_later(outbox.uncommitted(), "no answer")
    set_back(spool, 2000)
    outbox.asked()
    assert outbox.ask_later(outbox.uncommitted(), "no answer") <= 125


def test_while_requests_fail_objects_are_sent_and_no_other_destination_waits(spool, outbox):
    answered(spool, "1.1", commitment=True, destinations=("pacs", "archive"))
    outbox.stored(outbox.due())
    outbox.ask_later(outbox.uncommitted(), "does not offer storage commitment")
    answered(spool, "1.2", commitment=True)
    assert [item.image for item in outbox.due()] == ["1.2"]
    outbox.stored(outbox.due())
    assert outbox.uncommitted() == []  # a new object is no reason to ask at once
    other = Outbox(spool, "archive", SETTINGS)
    other.stored(other.due())
    assert len(other.uncommitted()) == 1
    reasons = {(each.what, each.state): each.reason for each in count_states(spool)}
    assert reasons["pacs", "sent"] == "does not offer storage commitment"
    assert reasons["archive", "sent"] == ""


KEEP = RetentionSettings(settled_days=7, unsettled_days=90, dead_days=30, max_gb=1)


def test_only_what_is_settled_leaves_after_its_time(spool, outbox):
    answered(spool, "1.1")
    outbox.stored(outbox.due())
    answered(spool, "1.2")
    set_back(spool, 8 * DAY)
    assert [(r.uid, r.was_settled) for r in apply_retention(spool, KEEP)] == [("1.1", True)]
    assert states(spool)[0] == {"1.2": "answered"}
    assert len(list(spool.images.iterdir())) == len(list(spool.objects.iterdir())) == 1


def test_what_waits_for_commitment_stays(spool, outbox):
    answered(spool, commitment=True)
    outbox.stored(outbox.due())
    set_back(spool, 8 * DAY)
    assert apply_retention(spool, KEEP) == []


def test_what_is_not_sent_leaves_when_its_own_time_ends(spool):
    answered(spool)
    set_back(spool, 91 * DAY)
    assert [(r.uid, r.was_settled) for r in apply_retention(spool, KEEP)] == [("1.2.3", False)]


def test_what_came_before_the_clock_was_set_is_not_taken_for_old(spool):
    answered(spool)
    set_back(spool, 50 * 365 * DAY)
    assert apply_retention(spool, KEEP) == []


def test_an_image_with_a_refused_object_stays_as_long_as_dead_letters(spool, outbox):
    answered(spool)
    outbox.refused(outbox.due()[0], "no")
    set_back(spool, 8 * DAY)
    assert apply_retention(spool, KEEP) == []
    set_back(spool, 23 * DAY)
    assert [r.uid for r in apply_retention(spool, KEEP)] == ["1.2.3"]


def test_beyond_its_size_the_oldest_settled_images_leave_first(spool, outbox):
    for uid in ("1.1", "1.2", "1.3"):
        answered(spool, uid)
        if uid != "1.3":
            outbox.stored(outbox.due())
            set_back(spool, 10)
    size = (len(b"content") + len(b"result")) / 2**30
    keep = RetentionSettings(max_gb=1.5 * size)
    assert [r.uid for r in apply_retention(spool, keep)] == ["1.1"]
    assert set(states(spool)[0]) == {"1.2", "1.3"}


def test_a_kill_while_removing_is_made_good_by_the_next_time(spool, outbox, monkeypatch):
    answered(spool)
    outbox.stored(outbox.due())
    set_back(spool, 8 * DAY)

    def killed():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(spool.index, "transaction", killed)
        with pytest.raises(KeyboardInterrupt):
            apply_retention(spool, KEEP)
    assert list(spool.images.iterdir()) == []
    assert spool.recover() == 0  # it is not taken for a new image
    assert [r.uid for r in apply_retention(spool, KEEP)] == ["1.2.3"]
    assert states(spool)[0] == {}
