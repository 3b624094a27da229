"""The history of a clinic opens after any kill, with everything that was confirmed.

`ORTHOEDGE_HISTORY_KILLS` changes how many kills there are.
"""

import os

import pytest

from tests.helpers.history.writer import kill_migrations, kill_writers

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
    running, whole, versions = kill_migrations(tmp_path, MIGRATED)
    note = f"{running} kills struck a migration that was running; versions after it: {versions}"
    assert running >= MIGRATED // 3, note
    tally("history: a migration that was killed is done again", whole, MIGRATED, note)
