"""Promise 2: after kill -9 every file is the old one, the new one or absent, and resume works."""

import pytest

from tests.helpers.crash.campaign import campaign

pytestmark = pytest.mark.slow

KILLS = {
    "compression": 20,
    "training": 100,
    "evaluation": 16,
    "compression report": 60,
    "bundle": 100,
    "image cache": 72,
    "compile cache": 62,
    "plan store": 40,
    "precision cache": 30,
}


def test_a_kill_at_any_moment_leaves_whole_files_and_the_next_call_goes_on(tmp_path, tally):
    held, problems = campaign("kill", KILLS, tmp_path)
    print(*problems, sep="\n")
    shares = ", ".join(f"{job} {count}" for job, count in KILLS.items())
    tally("kill -9: whole files, and the next call works", held, sum(KILLS.values()), shares)
