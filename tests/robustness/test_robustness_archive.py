"""An archive over Dask workers: each file has one row, whatever is killed or full meanwhile.

`ORTHOEDGE_ARCHIVE_FILES` and `ORTHOEDGE_ARCHIVE_KILL_S` change how many files there are, and the
seconds between two kills; `ORTHOEDGE_ARCHIVE_KEPT` names a folder that keeps the archive, and the
rows of the quiet run, for the next time. The command, the scheduler and the workers are processes
of their own, whose memory is printed by quarters of the archive.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.archives.dask import cluster
from tests.helpers.archives.pictures import write_archive
from tests.helpers.archives.rows import rows_of, union_bytes, untimed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = int(os.environ.get("ORTHOEDGE_ARCHIVE_FILES", "20000"))
KILL_S = float(os.environ.get("ORTHOEDGE_ARCHIVE_KILL_S", "20"))
KEPT = os.environ.get("ORTHOEDGE_ARCHIVE_KEPT")
DISK_MB = 64
SCHEDULER_AT = (0.2, 0.7)  # shares of the files that have their row
DISK_AT = 0.5
WORKERS = ("first", "second")
MOST_RUNS = (
    200  # each ends with a reason; a machine that is held up for a minute makes more of them
)
LARGEST_GROWTH_MB = 24  # SQLite's cache for the list of inputs may take 16


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
                    for child in children()[self._running.pid(name)]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(child, signal.SIGKILL)
            self.kills += 1

    def finish(self):
        self._end.set()
        self.join(60)


def children():
    """The processes of each parent."""
    found = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[parent].append(int(path.name))
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


class Command:
    """`archive run` as a process of its own.

    Args:
        bundle: the folder.
        source: the archive.
        store: where the rows go.
        log: of what it prints.
        more: options.
    """

    def __init__(self, bundle, source, store, log, *more):
        # A file may take as long as it likes, or a machine that is held up makes other rows.
        usual = ("--target", "portable", "--precision", "fp32", "--deadline-ms", "3600000")
        words = ("archive", "run", str(source), "--out", str(store), *usual, *more)
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orthoedge", *words, "--bundle", str(bundle)],
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def is_running(self):
        return self.process.poll() is None

    def said(self):
        return self._log.read_text()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)


class Memory:
    """The most memory of a process of each kind, by quarters of the archive."""

    def __init__(self):
        self.most = defaultdict(lambda: [0.0] * 4)

    def look(self, done, **processes):
        """`processes`: number of the process of each kind, which may have others below it."""
        quarter = min(3, int(4 * done))
        parents = children()
        for kind, pid in processes.items():
            self._count(kind, pid, quarter)
            waiting = list(parents[pid])
            while waiting:
                below = waiting.pop()
                waiting += parents[below]
                self._count(f"below {kind}", below, quarter)

    def _count(self, kind, pid, quarter):
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.most[kind][quarter] = max(self.most[kind][quarter], mb)

    def line(self):
        return "; ".join(
            f"{kind} {', '.join(f'{mb:.0f}' for mb in quarters)} MiB"
            for kind, quarters in sorted(self.most.items())
        )


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".typing"))


@pytest.fixture
def archive(tmp_path):
    """Folder of the files; removed afterwards, unless it is kept."""
    folder = Path(KEPT or tmp_path) / "archive"
    if not folder.exists():
        write_archive(folder, FILES)
    yield folder
    if not KEPT:
        shutil.rmtree(folder)


def test_every_file_of_an_archive_has_one_row(archive, small_bundle, tmp_path, tally):
    quiet_memory, memory = Memory(), Memory()
    quiet_store = archive.parent / "quiet"
    # Rows do not depend on where a file is decoded.
    options = ("--jobs", "2", "--no-isolate")
    begin = partial(Command, small_bundle.path, archive)
    quiet = begin(quiet_store, tmp_path / "quiet.log", *options)
    while quiet.is_running():
        done = share_done(quiet_store)
        quiet_memory.look(done, command=quiet.process.pid)
    assert quiet.process.returncode == 1, quiet.said()  # the poisonous ones
    expected = untimed(rows_of(quiet_store))
    assert len(expected) == FILES
    with small_disk(tmp_path / "disk") as disk, cluster(tmp_path) as running:
        store = (disk or tmp_path) / "store"
        begin = partial(begin, store)
        events, reasons, kills = with_faults(running, begin, store, tmp_path, disk, memory)
        rows = untimed(rows_of(store))
        is_same = union_bytes(store) == union_bytes(quiet_store)
    equal = sum(mine == theirs for mine, theirs in zip(rows, expected, strict=True))
    bad = sum(row["error"] is not None for row in rows)
    note = ", ".join(f"{what}: {number}" for what, number in events.items())
    tally("an archive's file has one row, that of a quiet run", equal, FILES, f"{bad} bad; {note}")
    tally("the union of the rows is that of a quiet run, byte for byte", int(is_same), 1)
    tally("workers killed meanwhile", kills, kills, f"every {KILL_S:g} s or so")
    tally("ends of a command that gave the reason", len(reasons), len(reasons), str(set(reasons)))
    tally("memory of a quiet run by quarters", 1, 1, quiet_memory.line())
    tally("memory of a run in trouble by quarters", 1, 1, memory.line())
    assert events["scheduler killed"] == len(SCHEDULER_AT)
    assert events["disk full"] == (disk is not None)
    for kind, quarters in quiet_memory.most.items():
        assert not quarters[0] or max(quarters) < quarters[0] + LARGEST_GROWTH_MB, kind


def with_faults(running, begin, store, tmp_path, disk, memory):
    """Give the command until it has done everything; return what happened on the way."""
    events = {"scheduler killed": 0, "disk full": 0, "runs": 0}
    reasons = []
    for name in WORKERS:
        running.start_worker(name)
    killer = Killer(running)
    killer.start()
    waiting, to_fill = list(SCHEDULER_AT), disk is not None
    try:
        for number in range(MOST_RUNS):
            events["runs"] += 1
            log = tmp_path / f"run{number}.log"
            command = begin(log, "--cluster", running.address)
            fault = ""
            while command.is_running():
                done = share_done(store)
                with killer.lock:
                    dask = {name: running.pid(name) for name in ("scheduler", *WORKERS)}
                memory.look(done, command=command.process.pid, **dask)
                if waiting and done > waiting[0] and not fault:
                    waiting.pop(0)
                    fault = "scheduler"
                    os.killpg(dask["scheduler"], signal.SIGKILL)
                elif to_fill and done > DISK_AT and not fault:
                    fault = "disk"
                    fill(disk)
                time.sleep(0.05)
            said = command.said()
            if fault == "scheduler":
                events["scheduler killed"] += 1
                with killer.lock:
                    running.kill("scheduler")
                    running.start_scheduler()
                    for name in WORKERS:
                        running.kill(name)
                        running.start_worker(name)
            elif fault == "disk":
                (disk / "filler").unlink()
                # It may have ended for another reason meanwhile, and is then filled again.
                to_fill = "No space left" not in said
                events["disk full"] += not to_fill
            if command.process.returncode == 1:
                break
            assert command.process.returncode == 2, said
            assert "Traceback" not in said
            reasons.append(said.strip().splitlines()[-1].partition(": ")[2])
        else:
            raise AssertionError(f"not done after {MOST_RUNS} runs: {set(reasons)}")
    finally:
        killer.finish()
        command.kill()
    return events, reasons, killer.kills


def share_done(store):
    rows = 0
    for part in store.rglob("*.parquet"):
        with contextlib.suppress(OSError):
            rows += pq.read_metadata(part).num_rows
    time.sleep(0.2)
    return rows / FILES
