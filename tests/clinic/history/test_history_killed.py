"""kill -9 while findings, opinions and migrations are written: nothing that was confirmed is lost.

tests/robustness/test_robustness_history.py does the same 200 times.
"""

from tests.helpers.history.writer import kill_migrations, kill_writers


def test_no_kill_of_a_writer_loses_what_was_confirmed(tmp_path):
    assert kill_writers(tmp_path / "history", kills=4) > 0


def test_no_kill_of_a_migration_loses_a_finding(tmp_path):
    running, whole, _ = kill_migrations(tmp_path, kills=3)
    assert running > 0
    assert whole == 3
