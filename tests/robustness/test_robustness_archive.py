"""An archive over Dask workers: each file has one row, whatever is killed or full meanwhile.

`ORTHOEDGE_ARCHIVE_FILES` and `ORTHOEDGE_ARCHIVE_KILL_S` change how many files there are, and the
seconds between two kills.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from orthoedge.clinic.archive.cluster import ClusterWorkers
from orthoedge.clinic.archive.local import LocalWorkers
from orthoedge.runtime.errors import EngineError
from tests.helpers.archives.dask import cluster
from tests.helpers.archives.rows import rows_of, run_here, untimed, write_pictures

pytestmark = [
    pytest.mark.slow,
    # distributed 2026.8 leaves sockets of a scheduler open that was killed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[2]
FILES = int(os.environ.get("ORTHOEDGE_ARCHIVE_FILES", "20000"))
KILL_S = float(os.environ.get("ORTHOEDGE_ARCHIVE_KILL_S", "20"))
DISK_MB = 64
SCHEDULER_AT = (0.2, 0.7)  # shares of the files that have their row
DISK_AT = 0.5
WORKERS = ("first", "second")
MOST_RUNS = 20


class Killer(threading.Thread):
    """Kills a worker now and then: its process, which its nanny replaces, or both."""

    def __init__(self, running):
        super().__init__(daemon=True)
        self._running, self._rng = running, random.Random(23)
        self._end = threading.Event()
        self.lock = threading.Lock()  # held while processes are started
        self.kills = 0

    def run(self):
        while not self._end.wait(self._rng.uniform(0.5, 1.5) * KILL_S):
            name = self._rng.choice(WORKERS)
            with self.lock:
                if self._rng.random() < 0.5:
                    self._running.kill(name)
                    self._running.start_worker(name)
                else:
                    for child in children_of(self._running.pid(name)):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(child, signal.SIGKILL)
            self.kills += 1

    def finish(self):
        self._end.set()
        self.join(60)


def children_of(parent):
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.name))
    return found


@contextlib.contextmanager
def small_disk(folder):
    """A folder on a disk of its own where one may be mounted; else None."""
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder))
    mounted = (
        shutil.which("mount")
        and not subprocess.run(["mount", *options], capture_output=True, check=False).returncode
    )
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    """Take every byte that is left."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))


class Attempt(threading.Thread):
    """One call of the command, and how it ended."""

    def __init__(self, address, source, bundle, store):
        super().__init__(daemon=True)
        self._call = (source, bundle, store)
        self._address = address
        self.error = self.summary = None

    def run(self):
        try:
            self.summary = run_here(
                *self._call,
                start=lambda settings: ClusterWorkers(settings, self._address),
                isolate=True,
            )
        except (EngineError, OSError) as error:
            self.error = error


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".typing"))


@pytest.mark.usefixtures("importable")
def test_every_file_of_an_archive_has_one_row(tmp_path, small_bundle, tally):
    pictures = tmp_path / "pictures"
    write_pictures(pictures, FILES)
    for number in range(0, FILES, 100):  # poisonous ones among them
        (pictures / f"bad{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(number % 999))
    count = FILES + len(range(0, FILES, 100))
    run_here(pictures, small_bundle, tmp_path / "quiet", isolate=True, start=two_processes)
    expected = untimed(rows_of(tmp_path / "quiet"))
    assert len(expected) == count
    events = {"scheduler killed": 0, "disk full": 0, "runs": 0}
    with small_disk(tmp_path / "disk") as disk, cluster(tmp_path) as running:
        store = (disk or tmp_path) / "store"
        for name in WORKERS:
            running.start_worker(name)
        killer = Killer(running)
        killer.start()
        try:
            waiting = list(SCHEDULER_AT)
            to_fill = disk is not None
            for _ in range(MOST_RUNS):
                events["runs"] += 1
                attempt = Attempt(running.address, pictures, small_bundle, store)
                attempt.start()
                while attempt.is_alive():
                    done = share_done(store, count)
                    if waiting and done > waiting[0]:
                        waiting.pop(0)
                        with killer.lock:
                            running.kill("scheduler")
                        events["scheduler killed"] += 1
                        attempt.join(180)
                        with killer.lock:
                            running.start_scheduler()
                            for name in WORKERS:
                                running.kill(name)
                                running.start_worker(name)
                    elif to_fill and done > DISK_AT:
                        fill(disk)
                        attempt.join(180)
                        (disk / "filler").unlink()
                        # It may have ended for another reason meanwhile, and is then filled again.
                        to_fill = not isinstance(attempt.error, OSError)
                        events["disk full"] += not to_fill
                    attempt.join(0.05)
                if attempt.summary is not None:
                    break
        finally:
            killer.finish()
        rows = untimed(rows_of(store))
    equal = sum(mine == theirs for mine, theirs in zip(rows, expected, strict=True))
    note = ", ".join(f"{what}: {number}" for what, number in events.items())
    tally("an archive's file has one row, that of a quiet run", equal, count, note)
    tally("workers killed meanwhile", killer.kills, killer.kills, f"every {KILL_S:g} s or so")
    assert not waiting
    assert not to_fill


def two_processes(settings):
    return LocalWorkers(settings, 2)


def share_done(store, count):
    import pyarrow.parquet as pq

    rows = 0
    for part in store.rglob("*.parquet"):
        with contextlib.suppress(OSError):
            rows += pq.read_metadata(part).num_rows
    time.sleep(0.1)
    return rows / count
