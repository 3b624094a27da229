"""kill -9 while findings, opinions and migrations are written: nothing that was confirmed is lost.

tests/robustness/test_robustness_history.py does the same 200 times.
"""

import random

from orthoedge.clinic.history import History
from orthoedge.clinic.history.schema import MIGRATIONS
from tests.clinic.history.test_migrations import history_of_version
from tests.helpers.history.writer import kill_writers, killed


def test_no_kill_of_a_writer_loses_what_was_confirmed(tmp_path):
    assert kill_writers(tmp_path / "history", kills=4) > 0


def test_no_kill_of_a_migration_loses_a_finding(tmp_path):
    chance = random.Random(22)
    for number in range(3):
        folder = tmp_path / str(number)
        history_of_version(folder, 1, [f"Person {n}" for n in range(50)])
        killed(folder, "migrate", 0, chance)
        history = History(folder)
        assert history.database.version == len(MIGRATIONS)
        assert history.database.read("SELECT count(*) FROM searched") == [(50,)]
        assert history.database.check() == ()
        history.close()
