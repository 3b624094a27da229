"""The history of a clinic opens after any kill, with everything that was confirmed.

`ORTHOEDGE_HISTORY_KILLS` changes how many kills there are.
"""

import os
import random

import pytest

from orthoedge.clinic.history import History
from orthoedge.clinic.history.schema import MIGRATIONS
from tests.clinic.history.test_migrations import history_of_version
from tests.helpers.history.writer import kill_writers, killed

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ORTHOEDGE_HISTORY_KILLS", "200"))
MIGRATED = KILLS // 4


def test_no_kill_loses_what_was_confirmed(tmp_path, tally):
    confirmed = kill_writers(tmp_path / "history", KILLS - MIGRATED)
    tally(
        "history: opens after a kill, nothing confirmed lost",
        KILLS - MIGRATED,
        KILLS - MIGRATED,
        f"{confirmed} findings, opinions and deletions confirmed",
    )


def test_no_kill_of_a_migration_loses_a_finding(tmp_path, tally):
    chance, whole = random.Random(7), 0
    for number in range(MIGRATED):
        folder = tmp_path / str(number)
        history_of_version(folder, 1, [f"Person {n}" for n in range(50)])
        killed(folder, "migrate", 0, chance)
        history = History(folder)
        whole += (
            history.database.version == len(MIGRATIONS)
            and history.database.read("SELECT count(*) FROM searched") == [(50,)]
            and history.database.check() == ()
        )
        history.close()
    tally("history: a migration that was killed is done again", whole, MIGRATED)
