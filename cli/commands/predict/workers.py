"""Predict files with one pipeline in this process, or with one in each of several processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orthoedge.cli.commands.predict.output import (
    FileOutput,
    drawn_output,
    failure_output,
    finding_output,
)
from orthoedge.cli.terminal import printable
from orthoedge.runtime.errors import (
    DeadlineExceeded,
    EngineError,
    InputError,
    MissingDependency,
    OrthoEdgeError,
)
from orthoedge.runtime.settings import LONGEST_S, plain

if TYPE_CHECKING:
    from concurrent.futures import Future

    from orthoedge.runtime.pipeline import Pipeline
    from orthoedge.runtime.settings import BundleTrust

_SHARE = 8  # files per message: sending one costs as much as a small file's CLAHE
# Seconds on top of the deadlines: for a process to start, to open its engine and to draw.
_GRACE_S = 60.0
_AHEAD = 2  # shares per process that are submitted or wait to be printed


@dataclass(frozen=True)
class Settings:
    """Options that all files share."""

    bundle: Path | None
    trust: BundleTrust
    target: str
    precision: Literal["auto", "int8", "fp32", "fp16"]
    threads: int | None
    streams: int
    cache: Path | None
    deadline_ms: float | None
    memory_mb: float | None
    as_json: bool
    isolate: bool

    def open(self) -> Pipeline:
        """Open the pipeline; raises as `open_pipeline`."""
        from orthoedge.runtime import SandboxedReader, SandboxLimits, read_image
        from orthoedge.targets import CallLimits, EngineOptions, open_pipeline

        usual = SandboxLimits()
        seconds = usual.time_s if self.deadline_ms is None else self.deadline_ms / 1e3
        sandbox = SandboxLimits(seconds, self.memory_mb or usual.memory_mb)
        return open_pipeline(
            self.bundle,
            target=self.target,
            precision=self.precision,
            engine=EngineOptions(self.threads, self.cache, self.streams),
            limits=CallLimits(self.deadline_ms, self.memory_mb),
            trust=self.trust,
            reader=SandboxedReader(sandbox) if self.isolate else read_image,
        )


@dataclass(frozen=True)
class Task:
    """One file, and where its pictures go."""

    path: Path
    name: str
    """What the file is called in the output."""
    pictures: tuple[Path, ...] = ()
    """Overlay and side-by-side; empty where no pictures are wanted."""
    unreadable: str = ""
    """Why the file or folder cannot be read, where that is known already."""


def predict_file(pipeline: Pipeline, task: Task, as_json: bool) -> FileOutput:
    """Predict one file and draw its pictures.

    Raises:
        EngineError: the engine failed, so that no other file can be predicted either.
    """
    if task.unreadable:
        return _unreadable_output(task, as_json)
    try:
        radiograph, finding = pipeline.predict_with_image(task.path)
    except (InputError, MissingDependency, DeadlineExceeded, OSError, MemoryError) as error:
        return failure_output(task.name, error, as_json)
    if not task.pictures:
        return finding_output(task.name, finding, as_json)
    return drawn_output(task.name, task.path, radiograph, finding, task.pictures, as_json)


def predict_ahead(pipeline: Pipeline, tasks: Sequence[Task], as_json: bool) -> Iterator[FileOutput]:
    """Outputs in the order of the tasks, which want no pictures; see `Pipeline.map_results`.

    Raises:
        EngineError: as `predict_file`.
    """
    paths = (task.path for task in tasks if not task.unreadable)
    with closing(pipeline.map_results(paths, workers=1)) as results:
        for task in tasks:
            result = None if task.unreadable else next(results)
            if result is None:
                yield _unreadable_output(task, as_json)
            elif isinstance(result, EngineError):
                raise result
            elif isinstance(result, OrthoEdgeError):
                yield failure_output(task.name, result, as_json)
            else:
                yield finding_output(task.name, result, as_json)


def _unreadable_output(task: Task, as_json: bool) -> FileOutput:
    error = InputError(f"cannot read it: {task.unreadable}")
    return failure_output(task.name, error, as_json)


def predict_in_processes(
    settings: Settings, tasks: Sequence[Task], jobs: int
) -> Iterator[FileOutput]:
    """Outputs in the order of the tasks, from `jobs` processes that end with the iteration.

    Args:
        settings: for each process's pipeline; where `threads` is None the cores are divided.
        tasks: the files.
        jobs: processes, 1 or more.

    Raises:
        EngineError: the engine failed, or a process died; or where there is a deadline, it hangs.
    """
    from concurrent.futures.process import BrokenProcessPool

    from orthoedge.targets.cpu import available_cores
    from orthoedge.targets.processes import EngineProcesses, no_interrupt

    threads = settings.threads or max(1, available_cores() // jobs)
    settings = replace(settings, threads=threads)
    pending: deque[tuple[Sequence[Task], Future[list[FileOutput]]]] = deque()
    size = min(_SHARE, -(-len(tasks) // jobs))
    shares = (tasks[start : start + size] for start in range(0, len(tasks), size or 1))
    processes = EngineProcesses(threads)
    try:
        pool = processes.start_pool(jobs)
        while True:
            with no_interrupt():
                for share in islice(shares, _AHEAD * jobs - len(pending)):
                    pending.append((share, pool.submit(_predict_share, settings, share)))
            if not pending:
                break
            share, future = pending[0]
            _wait(future, share, settings.deadline_ms, jobs)
            yield from future.result()
            pending.popleft()
    except BrokenProcessPool as error:
        name = printable(pending[0][0][0].name) if pending else "the first file"
        raise EngineError(
            f"--jobs {jobs}: a process died, killed or out of memory; {name} and those after it "
            "have no answer; try fewer jobs"
        ) from error
    finally:
        # What is still running is not needed: all files are done, or the user interrupted.
        processes.end()


def _wait(
    future: Future[list[FileOutput]], tasks: Sequence[Task], deadline_ms: float | None, jobs: int
) -> None:
    """Wait for the oldest share, which a process works on or takes next, up to its deadlines."""
    from concurrent.futures import wait

    if deadline_ms is None:
        return
    limit = len(tasks) * deadline_ms / 1e3 + _GRACE_S
    if not wait([future], min(limit, LONGEST_S)).done:
        raise EngineError(
            f"--jobs {jobs}: a process hangs; {printable(tasks[0].name)} and those after it have "
            f"no answer after {plain(limit)} s"
        )


@cache
def _pipeline(settings: Settings) -> Pipeline:
    return settings.open()


def _predict_share(settings: Settings, tasks: Sequence[Task]) -> list[FileOutput]:
    return [predict_file(_pipeline(settings), task, settings.as_json) for task in tasks]
