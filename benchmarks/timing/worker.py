"""Fresh processes that each open all candidates and time them in turn.

Where memory and threads happen to lie differs from process to process, and moves a ratio more than
another thousand calls in one process would tell. A process gets a JSON file with
`python -m orthoedge.benchmarks.timing.worker JOB` and keeps writing what it has measured to an .npz
file, so that a process that was ended leaves what it had.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks.schema import Missing
from orthoedge.benchmarks.timing.candidates import About, Opened, Wanted, try_to_open
from orthoedge.benchmarks.timing.energy import energy_mj, find_sensor
from orthoedge.benchmarks.timing.latency import Samples, Turn, in_turns
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import Bundle, read_bundle
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.subprocesses import module_command

SETTLE_MS, TURN_MS = 5.0, 15.0
"""Untimed and timed calls of a turn take about so long together: worker threads of ONNX Runtime and
OpenMP wait spinning for milliseconds, and the engine's own program finds its caches warm."""
_LONG_MS = 40.0  # a call of this length needs no settling
_SELDOM = 4  # rounds between the turns of such calls, which take as long as all the others
_MOST = 16  # calls, timed or untimed, of a turn
_KEEP_S = 1.0
_TOLD = "told"  # name of the array that holds JSON


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a process is to do."""

    number: int
    """From 0; with `seed` it sets the orders of the candidates."""
    bundle: str
    wanted: tuple[Wanted, ...]
    images: str
    """An .npz file of radiographs, uint8 (H, W) each."""
    ensemble: str
    """ONNX file of the float32 ensemble; empty: there is none."""
    threads: int
    warmup: int
    seconds: float
    """Of turns, after opening and warm-up; a round that has begun is ended."""
    rounds: int
    """At least."""
    energy_s: float
    """Seconds that each candidate is run alone beside an energy sensor; 0 for not at all."""
    seed: int
    samples: str
    """The .npz file to write."""
    parent: int
    """Process id; once it has ended, so does this process."""


class Told(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a process found out beside times."""

    opened: tuple[About, ...]
    missing: list[Missing]
    energy_mj: dict[str, float | None]


@dataclass(frozen=True)
class Timed:
    """What a process left."""

    told: Told
    samples: dict[str, Samples]
    """By candidate (rounds, calls), in ms; NaN in a round where it had no turn."""


def run_process(job: Job, folder: Path) -> None:
    """Run a job in a fresh process; what it leaves is for `read_samples`.

    Args:
        job: what to do.
        folder: for the job's file.

    Raises:
        EngineError: the process failed.
        KeyboardInterrupt: so it was ended.
    """
    file = folder / f"job-{job.number}.json"
    write_atomic(file, msgspec.json.encode(job))
    process = subprocess.Popen(
        [*module_command(__name__), str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that Ctrl-C is the parent's alone
    )
    try:
        said = process.communicate()[1]
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        lines = said.strip().splitlines() or [f"exit status {process.returncode}"]
        raise EngineError(f"a process of the benchmark failed: {lines[-1]}")


def read_samples(path: Path) -> Timed | None:
    """What a process left; None if it was ended before its first round."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        told = msgspec.json.decode(arrays[_TOLD].tobytes(), type=Told)
        return Timed(told, {about.name: arrays[about.name] for about in told.opened})


def write_images(images: Sequence[Pixels], path: Path) -> None:
    """Write radiographs for `Job.images`."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, image in enumerate(images):
            with archive.open(f"{number:05}.npy", "w") as file:
                np.lib.format.write_array(file, image, allow_pickle=False)


def turn_of(call_ms: float) -> Turn:
    """What a turn of a candidate consists of whose call takes so long."""
    settle = 0 if call_ms > _LONG_MS else min(_MOST, max(1, round(SETTLE_MS / call_ms)))
    return Turn(settle, calls=min(_MOST, max(1, round(TURN_MS / call_ms))))


def take_turns(
    calls: Mapping[str, Callable[[int], object]],
    warmup: int,
    rounds: int,
    seconds: float,
    seed: int | tuple[int, int] = 0,
    seldom: int = 1,
) -> Iterator[dict[str, Samples]]:
    """Warm up, then take turns until time is up, in another order in each round.

    Who comes after the heaviest candidate pays for it; if that were always the same one, its ratio
    would say so, in each process about another.

    Args:
        calls: by name; see `in_turns`.
        warmup: untimed calls of each; how long one takes is known after them.
        rounds: at least.
        seconds: at least; a round that has begun is ended.
        seed: of the orders.
        seldom: rounds from one turn of a call of more than 40 ms to its next; 1 is every round.

    Yields:
        After each round all times so far: of each candidate (rounds, calls), in ms; NaN in a round
        where it had no turn.
    """
    warm = in_turns(calls, dict.fromkeys(calls, Turn(settle=0, calls=warmup)), rounds=1)
    turns = {name: turn_of(float(times.min())) for name, times in warm.items()}
    parts: list[dict[str, Samples]] = []
    until = time.monotonic() + seconds
    rng, order = np.random.default_rng(seed), list(calls)
    while len(parts) < rounds or time.monotonic() < until:
        rng.shuffle(order)
        every = len(parts) % seldom == 0
        due = {name: calls[name] for name in order if every or turns[name].settle}
        had = in_turns(due, turns, rounds=1, first=len(parts))
        none = {name: np.full((1, turns[name].calls), np.nan) for name in calls if name not in due}
        parts.append({**had, **none})
        yield {name: np.concatenate([part[name] for part in parts]) for name in calls}


def work(job: Job, opened: Sequence[Opened], told: Told, orphaned: Callable[[], bool]) -> None:
    """Warm up, take turns until time is up, and keep writing what was measured.

    Args:
        job: how long.
        opened: what takes turns.
        told: goes beside the samples.
        orphaned: whether nobody waits any more.
    """
    calls = {one.about.name: one.call for one in opened}
    samples: dict[str, Samples] = {}
    kept = time.monotonic()
    orders = (job.seed, job.number)
    for samples in take_turns(calls, job.warmup, job.rounds, job.seconds, orders, _SELDOM):
        if orphaned():
            return
        if time.monotonic() - kept > _KEEP_S:
            _write(Path(job.samples), told, samples)
            kept = time.monotonic()
    if job.energy_s:
        _measure_energy(job.energy_s, opened, told)
    _write(Path(job.samples), told, samples)


def _measure_energy(seconds: float, opened: Sequence[Opened], told: Told) -> None:
    try:
        sensor = find_sensor()
        for one in opened:
            call = partial(one.call, 0)
            told.energy_mj[one.about.name] = energy_mj(call, sensor, seconds=seconds)
    except EngineError as error:
        told.missing.append(Missing(what="energy", why=str(error)))


def _write(path: Path, told: Told, samples: Mapping[str, Samples]) -> None:
    content = BytesIO()
    words = np.frombuffer(msgspec.json.encode(told), np.uint8)
    np.savez(content, **{_TOLD: words}, **samples)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())


def _open_all(job: Job, bundle: Bundle) -> Iterator[tuple[Wanted, list[Opened], str]]:
    with np.load(job.images, allow_pickle=False) as arrays:
        images = [arrays[name] for name in sorted(arrays.files)]
    ensemble = Path(job.ensemble).read_bytes() if job.ensemble else b""
    for one in job.wanted:
        yield one, *try_to_open(one, bundle, images, ensemble, job.threads)


def _main(job: Job) -> None:
    opened: list[Opened] = []
    missing = []
    for one, found, why in _open_all(job, read_bundle(Path(job.bundle))):
        opened += found
        if why:
            missing.append(Missing(what=one.name, why=why))
    told = Told(opened=tuple(one.about for one in opened), missing=missing, energy_mj={})
    if not opened:
        _write(Path(job.samples), told, {})
        return
    work(job, opened, told, lambda: os.getppid() != job.parent)


if __name__ == "__main__":
    try:
        _main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job))
    except OrthoEdgeError as error:
        sys.exit(str(error))
