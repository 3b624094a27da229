"""kill -9 at any moment: every file of the folder has its results once, under its own name."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import cv2
import pytest

from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.images import limb
from tests.helpers.clinic.nodes import eventually, image

CODE = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
SEED, FILES, KILLS = 5, 8, 6


@pytest.mark.slow
def test_a_killed_watcher_loses_and_doubles_nothing(tmp_path, small_bundle):
    watched, results = tmp_path / "in", tmp_path / "out"
    watched.mkdir()
    command = [*code_command(CODE), "watch", str(watched), "--results", str(results)]
    command += ["--bundle", str(small_bundle.path), "--target", "portable"]
    chance = random.Random(SEED)
    content = cv2.imencode(".png", (limb(300, 240) >> 4).astype("uint8"))[1].tobytes()
    log = (tmp_path / "log").open("ab")
    process = subprocess.Popen(command, stderr=log)
    try:
        for number in range(max(FILES, KILLS)):
            if number < FILES:
                image(watched, f"1.2.{number}")
                (watched / f"{number}.png").write_bytes(content)
            time.sleep(chance.uniform(0.5, 4.0))
            if number < KILLS:
                kill_one(process, chance)
                if process.poll() is not None:
                    process = subprocess.Popen(command, stderr=log)
        expected = {f"{n}.png{suffix}" for n in range(FILES) for suffix in (".json", ".png")}
        eventually(lambda: expected <= names(results), patience=240)
        eventually(lambda: len(list(results.glob("*.dcm"))) == 2 * FILES, patience=240)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
        print((tmp_path / "log").read_text())
    assert len(list((results / ".orthoedge" / "images").iterdir())) == 2 * FILES
    assert not list((results / ".orthoedge" / "dead").iterdir())
    assert len(names(watched)) == 2 * FILES


def kill_one(process, chance):
    """Kill the supervisor or one of its processes."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pid = chance.choice([process.pid, *map(int, children)])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if pid == process.pid:
        process.wait()


def names(folder):
    return {file.name for file in folder.iterdir() if file.is_file()}
