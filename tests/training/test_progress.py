"""Without a terminal, a line comes at least every minute, also where nothing can be counted."""

import threading
import time

import pytest

from orthoedge.training import progress
from orthoedge.training.progress import Progress, log_progress, track


@pytest.fixture
def impatient(monkeypatch):
    """A line is due after a twentieth of a second, in place of a minute."""
    monkeypatch.setattr(progress, "_SILENCE_S", 0.05)
    monkeypatch.setattr(progress, "_CHECK_S", 0.005)
    monkeypatch.setattr(Progress, "last_line", time.monotonic())


def wait_for(capsys, count):
    """Lines on stderr, once there are `count`; the deadline is for a loaded machine."""
    lines, deadline = [], time.monotonic() + 30
    while len(lines) < count and time.monotonic() < deadline:
        time.sleep(0.005)
        lines += capsys.readouterr().err.splitlines()
    assert len(lines) >= count
    return lines


def test_a_line_is_due_within_a_minute():
    assert progress._SILENCE_S + progress._CHECK_S < 60


def test_a_line_says_how_many_are_done_how_fast_and_what_is_left(impatient, capsys):
    with Progress("epoch 1/3", 160, bars=False) as step:
        assert "epoch 1/3: 0/160 batches, 0 min 00 s so far" in wait_for(capsys, 1)
        step.advance(40)
        assert any("epoch 1/3: 40/160 batches" in line for line in wait_for(capsys, 2))
        step._started = time.monotonic() - 20  # 40 in 20 s; the 120 others take a minute
        assert str(step) == "epoch 1/3: 40/160 batches, 2 batches/s, 1 min 00 s left"
    assert Progress._entered == []


def test_one_long_item_does_not_hold_the_line_back(impatient, capsys):
    for item in track(["an hour long"], "teacher", 1, bars=False):
        assert item == "an hour long"
        assert wait_for(capsys, 2)[0].startswith("teacher: 0/1 batches")


def test_the_inner_step_has_the_line_and_then_the_outer_again(impatient, capsys):
    with Progress("compress"):
        with Progress("quantizing"):
            assert all(line.startswith("quantizing: ") for line in wait_for(capsys, 2))
        capsys.readouterr()
        assert wait_for(capsys, 1)[-1].startswith("compress: ")


def test_other_lines_count_and_a_quick_step_prints_nothing(capsys):
    before = threading.active_count()
    log_progress("epoch 1/3")
    for _ in track(range(100), "epoch 2/3", 100, bars=False):
        pass
    assert capsys.readouterr().err == "epoch 1/3\n"
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert threading.active_count() <= before


def test_a_step_that_fails_is_left(impatient, capsys):
    with pytest.raises(ValueError, match="broken"), Progress("compress"):
        raise ValueError("broken")
    assert Progress._entered == []
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_bar_takes_the_place_of_lines(impatient, capsys):
    with Progress("epoch 1/3", 4, bars=True) as step:
        step.advance(4)
        step.note("loss 0.123")
        time.sleep(0.1)
    shown = capsys.readouterr().err
    assert "epoch 1/3: 100%" in shown
    assert "loss 0.123" in shown
    assert "so far" not in shown
