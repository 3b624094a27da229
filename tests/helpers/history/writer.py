"""A process that writes a history until it is killed: `python -m … FOLDER write|migrate`.

It prints each thing that was confirmed; what was printed must be there afterwards. A migration also
prints that one of its steps is at work: at its first call of `searched_text`, of which it makes one
for each finding.
"""

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from orthoedge.clinic.history import Opinion, history, searching
from orthoedge.clinic.history.backup import check_history
from orthoedge.clinic.history.schema import MIGRATIONS
from orthoedge.runtime.subprocesses import module_command
from tests.helpers.history.findings import history_of_version, new_finding

LONGEST_S, MOST = 0.05, 20  # seconds and confirmed things before a kill
_PIXELS = 20_000


def pixels(number):
    return bytes([number % 256]) * _PIXELS + number.to_bytes(8, "little")


def write(folder, start):
    opened = history.History(folder)
    print("begun", flush=True)
    for turn in range(start, start + 1_000_000):
        number = opened.add(new_finding(f"Turn {turn}", file_name=str(turn)), pixels(turn))
        print("finding", number, turn, flush=True)
        opened.verdict(number, Opinion(agrees=False, note=str(turn)), "ada")
        print("opinion", number, turn, flush=True)
        if turn % 3 == 0:
            opened.pixels.compress_next()
        if turn % 7 == 0:
            opened.delete([number], "ada", "test")
            print("deleted", number, turn, flush=True)


def migrate(folder, start):
    is_at_work = False

    def searched_text(*values):
        nonlocal is_at_work
        if not is_at_work:
            is_at_work = True
            print("begun", flush=True)
        return searching.searched_text(*values)

    history.searched_text = searched_text  # which the migration is given
    history.History(folder).close()
    print("migrated", start, 0, flush=True)
    time.sleep(60)


def killed(folder, mode, start, after_s, least=0):
    """Run a writer and kill it so long after it has confirmed `least` things; what it confirmed."""
    command = [*module_command("tests.helpers.history.writer"), str(folder), mode]
    with subprocess.Popen([*command, str(start)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        lines = [process.stdout.readline() for _ in range(least)]
        time.sleep(after_s)
        process.kill()
        lines += process.stdout.read().splitlines()
    return [(kind, int(number), int(turn)) for kind, number, turn in map(str.split, lines)]


def kill_writers(folder, kills, seed=22):
    """Kill writers one after another; how many confirmed things there were, all of them there."""
    chance, confirmed, turn = random.Random(seed), [], 0
    for _ in range(kills):
        new = killed(folder, "write", turn, chance.uniform(0, LONGEST_S), chance.randrange(MOST))
        turn += 100_000
        confirmed += new
        check_confirmed(folder, new)
    check_confirmed(folder, confirmed)
    with contextlib.closing(history.History(folder)) as opened:
        assert check_history(opened) == ()
    return len(confirmed)


def kill_migrations(folder, kills, people=1500, seed=7):
    """Kill migrations from version 1, each at another moment of it, and migrate again.

    Returns:
        How many kills struck a migration that was running, how many histories are whole, and how
        many were of each version after the kill.
    """
    names = [f"Person {number}" for number in range(people)]
    template = folder / "template"
    history_of_version(template, 1, names)
    begun = time.perf_counter()
    shutil.copytree(template, folder / "timed")
    history.History(folder / "timed").close()
    longest_s = time.perf_counter() - begun
    chance, running, whole, versions = random.Random(seed), 0, 0, Counter()
    for number in range(kills):
        place = folder / str(number)
        shutil.copytree(template, place)
        running += not killed(place, "migrate", 0, chance.uniform(0, longest_s / 2))
        with contextlib.closing(sqlite3.connect(place / history.DATABASE)) as connection:
            versions[connection.execute("PRAGMA user_version").fetchone()[0]] += 1
        with contextlib.closing(history.History(place)) as opened:
            whole += (
                opened.database.version == len(MIGRATIONS)
                and opened.database.read("SELECT count(*) FROM searched") == [(people,)]
                and opened.database.check() == ()
            )
        shutil.rmtree(place)
    return running, whole, dict(sorted(versions.items()))


def check_confirmed(folder, confirmed):
    with contextlib.closing(history.History(folder)) as opened:
        opened.check_soundness()
        gone = {number for kind, number, _ in confirmed if kind == "deleted"}
        for kind, number, turn in confirmed:
            stored = opened.get(number)
            if number in gone:
                assert stored is None
                continue
            if stored is None:  # killed after the deletion and before it was confirmed
                assert turn % 7 == 0
                continue
            assert stored.summary.file_name == str(turn)
            assert opened.pixels.read(stored.picture.sha256) == pixels(turn)
            if kind == "opinion":
                assert [opinion.note for opinion in stored.opinions] == [str(turn)]


if __name__ == "__main__":
    {"write": write, "migrate": migrate}[sys.argv[2]](Path(sys.argv[1]), int(sys.argv[3]))
