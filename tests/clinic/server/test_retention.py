"""What is older than the settings allow leaves the history with its pixels and opinions."""

import time

import pytest

from orthoedge.clinic.history import Opinion
from orthoedge.clinic.history.backup import back_up, check_history
from orthoedge.clinic.server.api.keeping import delete_old
from orthoedge.clinic.server.serve import make_state
from orthoedge.clinic.server.settings import KeepingSettings
from tests.helpers.clinic.pages import clinic_server, clinic_settings
from tests.helpers.history.findings import PIXELS, new_finding

DAY_S = 86400.0


def settings(folder, days):
    return clinic_settings(folder, retention=KeepingSettings(days))


@pytest.fixture
def opened(tmp_path):
    """Opens the state of a server that keeps findings for some days."""
    states = []

    def open_it(days):
        states.append(make_state(settings(tmp_path / "history", days)))
        return states[-1]

    yield open_it
    for state in states:
        state.history.close()


def enter(history, monkeypatch, days_ago, pixels=PIXELS, **given):
    """Enter a finding as if it had come so many days ago."""
    seconds = time.time() - days_ago * DAY_S
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: seconds)
        number = history.add(new_finding(**given), pixels)
        history.verdict(number, Opinion(agrees=True), "ada")
    return number


@pytest.mark.parametrize(
    ("days", "left"),
    [(0, [0, 1, 9, 40]), (0.5, [0]), (1.5, [0, 1]), (30, [0, 1, 9]), (36500, [0, 1, 9, 40])],
)
def test_what_is_older_than_the_days_is_deleted_and_nothing_else(opened, monkeypatch, days, left):
    state = opened(days)
    ages = {enter(state.history, monkeypatch, age): age for age in (40, 0, 9, 1)}
    assert delete_old(state) == len(ages) - len(left)
    assert sorted(ages[number] for number in ages if state.history.get(number)) == left
    assert delete_old(state) == 0
    assert check_history(state.history) == ()


def test_opinions_words_and_pixels_go_and_the_audit_trail_keeps_the_number(
    opened, monkeypatch, tmp_path
):
    state = opened(7)
    old = enter(state.history, monkeypatch, 8, bytes(512), name="Old, Anna")
    shared = enter(state.history, monkeypatch, 8)
    new = enter(state.history, monkeypatch, 1)
    back_up(state.history, tmp_path / "backup")
    assert delete_old(state) == 2
    entries = [(one.user, one.action, one.finding, one.detail) for one in state.history.audit()]
    assert entries[:2] == [("", "deleted", n, "older than 7 days") for n in (shared, old)]
    assert state.history.database.read("SELECT finding FROM opinions") == [(new,)]
    picture = state.history.get(new).picture
    assert state.history.pixels.read(picture.sha256) == PIXELS  # the old one had the same
    assert len(list((tmp_path / "history/pixels").glob("*/*"))) == 1
    assert b"Old, Anna" not in (tmp_path / "history/history.sqlite").read_bytes()
    back_up(state.history, tmp_path / "backup")
    assert len(list((tmp_path / "backup/pixels").glob("*/*"))) == 1
    assert b"Old, Anna" not in (tmp_path / "backup/history.sqlite").read_bytes()


def test_a_server_deletes_when_it_starts(opened, monkeypatch, tmp_path):
    state = opened(7)
    old = enter(state.history, monkeypatch, 8)
    new = enter(state.history, monkeypatch, 1)
    with clinic_server(settings(tmp_path / "history", 7)) as clinic:
        end = time.monotonic() + 30
        while clinic.get(f"/findings/{old}").status != 404 and time.monotonic() < end:
            time.sleep(0.05)
        assert [one["number"] for one in clinic.get("/findings").json["findings"]] == [new]
