"""Kill or starve one job many times.

`python program.py prepare|kill|fill FOLDER COUNT SEED JOB...`

Prints one line of JSON: how many cases held, and what was wrong with the others. It imports before
it forks whatever a job imports, and starts no thread.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))
importlib.import_module("conftest")  # the root's: makes the package importable
from tests.helpers.crash.files import contents, hidden, whole  # noqa: E402
from tests.helpers.crash.jobs import Job, jobs, prepare  # noqa: E402
from tests.helpers.crash.killing import Ended, draw, forked  # noqa: E402

_LIBRARIES = ("torch", "onnx", "nncf", "timm", "matplotlib", "PIL", "scipy", "orthoedge")
_TOLD = ("No space left on device", "the disk is full", "File too large")
_DISK = 64 << 20
_FEW = 4  # kills, until what was killed is let end


class Bench:
    """A job, what was there before it, and what it leaves when nobody disturbs it."""

    def __init__(self, job: Job, folder: Path, seed: int) -> None:
        self.job, self.folder, self.rng = job, folder, random.Random(seed)
        self.problems: list[str] = []
        shutil.rmtree(folder, ignore_errors=True)
        self.before, self.place = folder / "before", folder / "disk" / "place"
        self.place.mkdir(parents=True)
        if job.before is not None:
            self.act(self.place, job.before)
        shutil.copytree(self.place, self.before)
        self.old = contents(self.before)
        self.import_what_it_imports()
        self.whole = self.act(self.start())
        self.new = contents(self.place)

    def act(self, place: Path, work: Callable[[Path], object] | None = None) -> Ended:
        ended = forked(lambda: (work or self.job.act)(place), place)
        assert ended.code == 0, ended.said
        return ended

    def import_what_it_imports(self) -> None:
        names, place = self.folder / "modules.json", self.start()

        def act() -> int:
            code = self.job.act(place) or 0
            names.write_text(json.dumps(list(sys.modules)))
            return code

        ended = forked(act, place)
        assert ended.code == 0, ended.said
        for name in json.loads(names.read_text()):
            if name.split(".")[0] in _LIBRARIES:
                with contextlib.suppress(Exception):  # some can only be imported by their package
                    importlib.import_module(name)

    def start(self) -> Path:
        """The place as it was before."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.before, self.place)
        return self.place

    def check(self, case: str) -> bool:
        """Whether every file is the old one, the new one or absent."""
        seen = contents(self.place)
        bad = [name for name, content in seen.items() if not self.known(name, content)]
        marked = self.job.marker and any(Path(name).name == self.job.marker for name in seen)
        if marked and seen not in (self.old, self.new):
            bad.append("files that do not belong together")
        lost = [n for n in self.old if n not in seen and Path(n).name != self.job.marker]
        return self.told(case, bad + lost)

    def known(self, name: str, content: bytes) -> bool:
        if content in (self.old.get(name), self.new.get(name)):
            return True
        return (self.job.resumes or self.varies(name)) and whole(name, content)

    def varies(self, name: str) -> bool:
        return any(fnmatch.fnmatch(Path(name).name, pattern) for pattern in self.job.varies)

    def finish(self, case: str) -> bool:
        """Whether the same action works now, and ends as if nothing had happened."""
        ended = forked(lambda: self.job.act(self.place), self.place)
        if ended.code != 0:
            return self.told(f"{case}, then", [f"exit {ended.code}: {ended.said[-600:]}"])
        return self.ended_alike(f"{case}, then")

    def ended_alike(self, case: str) -> bool:
        """Whether the place holds what an undisturbed run leaves, and nothing hidden."""
        seen = contents(self.place)
        bad = list(seen.keys() ^ self.new.keys()) + hidden(self.place)
        for name in seen.keys() & self.new.keys():
            if seen[name] != self.new[name] and not (self.varies(name) and whole(name, seen[name])):
                bad.append(name)
        return self.told(case, bad)

    def told(self, case: str, bad: list[str]) -> bool:
        if bad:
            self.problems.append(f"{case}: {bad}")
        return not bad

    def kills(self, count: int) -> int:
        """Kill `count` times, each time in what the last kill left; how often all was well.

        What ends before it is killed must be as if nothing had been killed. So must be what ends
        undisturbed, after the last kill, and after every few where nothing is resumed.
        """
        held = done = 0
        self.start()
        while done < count:
            strike = draw(self.rng, self.whole)
            ended = forked(lambda: self.job.act(self.place), self.place, strike)
            case = f"kill {done} at {strike}"
            if ended.code == 0:
                held -= not self.ended_alike(f"ended before {case}")
                self.start()
                continue
            done += 1
            sound = self.check(case)
            if ended.code != -9:
                sound = self.told(case, [f"exit {ended.code}: {ended.said[-600:]}"])
            if done == count or (done % _FEW == 0 and not self.job.resumes):
                sound = self.finish(case) and sound
                self.start()
            held += sound
        return held

    def fills(self, count: int) -> int:
        """Fill the disk at `count` points; how often it was told and the old state stayed.

        Where nothing may be mounted no file may grow beyond the drawn number of bytes instead.
        """
        held = done = 0
        sizes = [len(content) for content in self.new.values()]
        disk = self.place.parent
        with small_disk(disk) as mounted:
            most = sum(sizes) + 4096 * len(sizes) if mounted else max(sizes)
            while done < count:
                self.start()
                room = self.rng.randrange(most)
                ballast = fill(disk, room) if mounted else None
                limit = -1 if mounted else room
                ended = forked(lambda: self.job.act(self.place), self.place, limit=limit)
                case = f"full disk {done}, {room} bytes left"
                if ended.code == 0:  # that was enough
                    continue
                done += 1
                sound = self.refused(ended, case)
                if ballast is not None:
                    ballast.unlink()
                held += self.finish(case) and sound
        return held

    def refused(self, ended: Ended, case: str) -> bool:
        """Whether a full disk was told in one line, and what was there is there."""
        last = ended.said.strip().rpartition("\n")[2]
        clear = any(words in last for words in _TOLD) and str(self.place) in last
        clear = clear and last.startswith("orthoedge: ")
        if ended.code != 2 or not clear or "Traceback" in ended.said:
            return self.told(case, [f"exit {ended.code}: {ended.said[-900:]}"])
        if self.job.resumes or self.job.alone:
            return self.check(case)
        seen = contents(self.place)
        return self.told(case, [n for n in seen | self.old if seen.get(n) != self.old.get(n)])


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a small disk at a folder, if that is allowed here; whether it was."""
    size = f"size={_DISK}"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, room: int) -> Path:
    """Leave about `room` bytes on a disk; the file that takes the rest."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - room))
    return ballast


def main(action: str, work: str, count: str, seed: str, *names: str) -> None:
    folder = Path(work)
    if action == "prepare":
        ended = forked(lambda: prepare(folder / "inputs", list(names)), folder / "inputs")
        assert ended.code == 0, ended.said
        return
    (name,) = names
    bench = Bench(jobs(folder / "inputs")[name], folder / action / name, int(seed))
    held = bench.kills(int(count)) if action == "kill" else bench.fills(int(count))
    print(json.dumps({"held": held, "problems": bench.problems[:5]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
