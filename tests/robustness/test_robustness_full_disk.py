"""Promise 2: a full disk is told in one line, the old state stays, the next call works."""

import pytest

from tests.helpers.crash.campaign import campaign

pytestmark = pytest.mark.slow

FILLS = {
    "compression": 4,
    "training": 16,
    "evaluation": 8,
    "compression report": 20,
    "bundle": 20,
    "image cache": 10,
    "compile cache": 10,
    "plan store": 10,
    "precision cache": 10,
}


def test_a_disk_full_at_any_write_is_told_and_costs_nothing_that_was_there(tmp_path, tally):
    held, problems = campaign("fill", FILLS, tmp_path)
    print(*problems, sep="\n")
    shares = ", ".join(f"{job} {count}" for job, count in FILLS.items())
    tally("full disk: told, old state intact", held, sum(FILLS.values()), shares)
