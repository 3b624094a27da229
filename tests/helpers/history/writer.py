"""A process that writes a history until it is killed: `python -m … FOLDER write|migrate`.

It prints each thing that was confirmed; what was printed must be there afterwards.
"""

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

from orthoedge.clinic.history import History, Opinion
from orthoedge.clinic.history.backup import check_history
from orthoedge.runtime.subprocesses import module_command
from tests.helpers.history.findings import new_finding

LONGEST_S = 0.4
_PIXELS = 20_000


def pixels(number):
    return bytes([number % 256]) * _PIXELS + number.to_bytes(8, "little")


def write(folder, start):
    history = History(folder)
    print("begun", flush=True)
    for turn in range(start, start + 1_000_000):
        number = history.add(new_finding(f"Turn {turn}", file_name=str(turn)), pixels(turn))
        print("finding", number, turn, flush=True)
        history.verdict(number, Opinion(agrees=False, note=str(turn)), "ada")
        print("opinion", number, turn, flush=True)
        if turn % 3 == 0:
            history.pixels.compress_next()
        if turn % 7 == 0:
            history.delete([number], "ada", "test")
            print("deleted", number, turn, flush=True)


def migrate(folder, start):
    print("begun", flush=True)
    History(folder).close()
    print("migrated", start, 0, flush=True)
    time.sleep(60)


def killed(folder, mode, start, chance):
    """Run a writer and kill it at a random moment after it has begun; what it had confirmed."""
    command = [*module_command("tests.helpers.history.writer"), str(folder), mode]
    with subprocess.Popen([*command, str(start)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(chance.uniform(0, LONGEST_S if mode == "write" else LONGEST_S / 8))
        process.kill()
        lines = process.stdout.read().splitlines()
    return [(kind, int(number), int(turn)) for kind, number, turn in map(str.split, lines)]


def kill_writers(folder, kills, seed=22):
    """Kill writers one after another; how many confirmed things there were, all of them there."""
    chance, confirmed, turn = random.Random(seed), [], 0
    for _ in range(kills):
        new = killed(folder, "write", turn, chance)
        turn += 100_000
        confirmed += new
        check_confirmed(folder, new)
    check_confirmed(folder, confirmed)
    with contextlib.closing(History(folder)) as history:
        assert check_history(history) == ()
    return len(confirmed)


def check_confirmed(folder, confirmed):
    history = History(folder)
    with contextlib.closing(history):
        history.check_soundness()
        gone = {number for kind, number, _ in confirmed if kind == "deleted"}
        for kind, number, turn in confirmed:
            stored = history.get(number)
            if number in gone:
                assert stored is None
                continue
            if stored is None:  # killed after the deletion and before it was confirmed
                assert turn % 7 == 0
                continue
            assert stored.summary.file_name == str(turn)
            assert history.pixels.read(stored.picture.sha256) == pixels(turn)
            if kind == "opinion":
                assert [opinion.note for opinion in stored.opinions] == [str(turn)]


if __name__ == "__main__":
    {"write": write, "migrate": migrate}[sys.argv[2]](Path(sys.argv[1]), int(sys.argv[3]))
