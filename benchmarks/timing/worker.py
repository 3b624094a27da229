"""Worker processes: each loads all candidates afresh and times them interleaved.

Where memory and threads lie differs from process to process, and shifts a ratio by more than
another thousand calls in one process would reveal. The parent runs
`python -m orthoedge.benchmarks.timing.worker JOB` with a JSON file. The worker keeps updating an
.npz file with its samples, so that a worker that is killed leaves what it has measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.timing.candidates import (
    CandidateInfo,
    CandidateLoader,
    CandidateSpec,
    LoadedCandidate,
)
from orthoedge.benchmarks.timing.energy import energy_mj, find_sensor
from orthoedge.benchmarks.timing.latency import CallCounts, Samples, run_rounds
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.subprocesses import module_command

WARMUP_MS, TIMED_MS = 5.0, 15.0
"""Duration of a candidate's untimed and timed calls in one round. Worker threads of ONNX Runtime
and OpenMP keep spinning for milliseconds, and the engine needs its data back in the caches."""
_LONG_CALL_MS = 40.0  # a call of this length needs no warm-up calls
_MAX_CALLS = 16  # timed or untimed, in one round
_WRITE_INTERVAL_S = 1.0
_RESULT = "result"  # name of the array that holds JSON


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The task of one worker process."""

    number: int
    """From 0; with `seed` it determines the orders of the candidates."""
    bundle: str
    specs: tuple[CandidateSpec, ...]
    images: str
    """An .npz file of radiographs, uint8 (H, W) each."""
    ensemble: str = ""
    """ONNX file of the float32 ensemble; empty: there is none."""
    folder: str
    """For files that candidates read, see `CandidateLoader`."""
    threads: int
    warmup: int = 1
    seconds: float
    """Of timing, after loading and warm-up; a round that has begun is finished."""
    rounds: int = 1
    """At least."""
    long_call_interval: int = 1
    """Rounds from one timing of a call of more than 40 ms to the next; 1 is every round."""
    energy_s: float = 0
    """Seconds that each candidate runs alone with an energy sensor; 0 for not at all."""
    seed: int
    samples: str
    """The .npz file to write."""
    parent: int = msgspec.field(default_factory=os.getpid)
    """Process id; the worker ends once this process has ended."""


class WorkerResult(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a worker reports besides samples."""

    loaded: tuple[CandidateInfo, ...]
    skipped: list[Skipped]
    energy_mj: dict[str, float | None]


@dataclass(frozen=True)
class WorkerSamples:
    """The output of one worker."""

    result: WorkerResult
    samples: dict[str, Samples]
    """By candidate (rounds, calls), in ms; NaN in a round in which it was not timed."""


def run_worker(job: Job, folder: Path) -> None:
    """Run a job, whose file is written to `folder`, in a fresh process; see `read_samples`.

    Raises:
        EngineError: the process failed.
        KeyboardInterrupt: the process was ended too.
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
        start_new_session=True,  # Ctrl-C goes to the parent alone
    )
    try:
        stderr = process.communicate()[1]
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        lines = stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise EngineError(f"a worker process of the benchmark failed: {lines[-1]}")


def read_samples(path: Path) -> WorkerSamples | None:
    """Read the output of a worker; None if it ended before its first round."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        result = msgspec.json.decode(arrays[_RESULT].tobytes(), type=WorkerResult)
        return WorkerSamples(result, {info.name: arrays[info.name] for info in result.loaded})


def write_images(images: Sequence[Pixels], path: Path) -> None:
    """Write radiographs for `Job.images`."""
    np.savez(path, **{f"{number:05}": image for number, image in enumerate(images)})  # type: ignore[arg-type]


def call_counts(call_ms: float) -> CallCounts:
    """Calls in one round of a candidate whose call takes `call_ms`."""
    if call_ms > _LONG_CALL_MS:
        return CallCounts(0, calls=1)
    warmup_calls = min(_MAX_CALLS, max(1, round(WARMUP_MS / call_ms)))
    return CallCounts(warmup_calls, calls=min(_MAX_CALLS, max(1, round(TIMED_MS / call_ms))))


def interleave(
    calls: Mapping[str, Callable[[int], object]],
    warmup: int,
    rounds: int,
    seconds: float,
    seed: int | tuple[int, int] = 0,
    long_call_interval: int = 1,
) -> Iterator[dict[str, Samples]]:
    """Warm up, then time the candidates in rounds, in a new random order in each round.

    The candidate after the heaviest one pays for it. In a fixed order that would always be the same
    candidate, a different one in each process.

    Args:
        calls: by name; see `run_rounds`.
        warmup: untimed calls of each, which also tell how long a call takes.
        rounds: at least.
        seconds: at least; a round that has begun is finished.
        seed: of the orders.
        long_call_interval: see `Job`.

    Yields:
        After each round all times so far: of each candidate (rounds, calls), in ms; NaN in a round
        in which it was not timed.
    """
    warm = run_rounds(calls, dict.fromkeys(calls, CallCounts(0, calls=warmup)), rounds=1)
    counts = {name: call_counts(float(times.min())) for name, times in warm.items()}
    parts: list[dict[str, Samples]] = []
    until = time.monotonic() + seconds
    rng, order = np.random.default_rng(seed), list(calls)
    while len(parts) < rounds or time.monotonic() < until:
        rng.shuffle(order)
        every = len(parts) % long_call_interval == 0
        due = {name: calls[name] for name in order if every or counts[name].warmup_calls}
        timed = run_rounds(due, counts, rounds=1, first=len(parts))
        absent = set(calls) - set(due)
        parts.append(timed | {name: np.full((1, counts[name].calls), np.nan) for name in absent})
        yield {name: np.concatenate([part[name] for part in parts]) for name in calls}


def work(
    job: Job,
    candidates: Sequence[LoadedCandidate],
    result: WorkerResult,
    orphaned: Callable[[], bool],
) -> None:
    """Warm up, time all candidates, and keep updating the job's output, unless orphaned."""
    calls = {candidate.info.name: candidate.call for candidate in candidates}
    samples: dict[str, Samples] = {}
    written = time.monotonic()
    orders = (job.seed, job.number)
    for samples in interleave(
        calls, job.warmup, job.rounds, job.seconds, orders, job.long_call_interval
    ):
        if orphaned():
            return
        if time.monotonic() - written > _WRITE_INTERVAL_S:
            _write(Path(job.samples), result, samples)
            written = time.monotonic()
    if job.energy_s:
        try:
            sensor = find_sensor()
            for info, call in ((candidate.info, candidate.call) for candidate in candidates):
                if info.scope != "comparison":
                    energy = energy_mj(partial(call, 0), sensor, seconds=job.energy_s)
                    result.energy_mj[info.name] = energy
        except EngineError as error:
            result.skipped.append(Skipped(name="energy", reason=str(error)))
    _write(Path(job.samples), result, samples)


def _write(path: Path, result: WorkerResult, samples: Mapping[str, Samples]) -> None:
    content = BytesIO()
    encoded = np.frombuffer(msgspec.json.encode(result), np.uint8)
    np.savez(content, **{_RESULT: encoded}, **samples)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())


def _main(job: Job) -> None:
    with np.load(job.images, allow_pickle=False) as arrays:
        images = [arrays[name] for name in sorted(arrays.files)]
    ensemble = Path(job.ensemble).read_bytes() if job.ensemble else b""
    bundle = read_bundle(Path(job.bundle))
    with CandidateLoader(bundle, images, job.threads, Path(job.folder), ensemble) as loader:
        candidates: list[LoadedCandidate] = []
        skipped = []
        for spec in job.specs:
            loaded, reason = loader.try_to_load(spec)
            candidates += loaded
            if reason:
                skipped.append(Skipped(name=spec.name, reason=reason))
        infos = tuple(candidate.info for candidate in candidates)
        result = WorkerResult(loaded=infos, skipped=skipped, energy_mj={})
        if candidates:
            work(job, candidates, result, lambda: os.getppid() != job.parent)
        else:
            _write(Path(job.samples), result, {})


if __name__ == "__main__":
    try:
        _main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job))
    except OrthoEdgeError as error:
        sys.exit(str(error))
