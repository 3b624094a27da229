"""Files predicted in several processes, each with a pipeline of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from orthoedge.cli.commands.predict.output import (
    Answer,
    Settings,
    Task,
    answer,
)
from orthoedge.cli.terminal import printable
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.cpu import available_cores

if TYPE_CHECKING:
    from orthoedge.runtime.pipeline import Pipeline


_SHARE = 8  # files that a process is given at once: giving costs as much as a small file's CLAHE
# Seconds on top of the deadlines: for a process to start, to open its engine and to draw.
_GRACE_S = 60.0
_AHEAD = 2  # shares per process that are given out or wait for their turn to be printed


def answers_of(settings: Settings, tasks: Sequence[Task], jobs: int) -> Iterator[Answer]:
    """Answers of `jobs` processes, in the order of the tasks; as each is done they go away.

    Args:
        settings: of each process's pipeline; where `threads` is None the cores are shared out.
        tasks: the files.
        jobs: processes, 1 or more.

    Raises:
        EngineError: the engine failed, or a process died; or where there is a deadline, it hangs.
    """
    threads = settings.threads or max(1, available_cores() // jobs)
    settings = replace(settings, threads=threads)
    # A process that was forked would share OpenCV's and the engine's locks with no thread to open
    # them.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    waiting: deque[tuple[Sequence[Task], Future[list[Answer]]]] = deque()
    share = min(_SHARE, -(-len(tasks) // jobs))
    coming = (tasks[start : start + share] for start in range(0, len(tasks), share or 1))
    with _no_interrupt():
        pool = ProcessPoolExecutor(jobs, context, _begin, (threads,))
    try:
        while True:
            with _no_interrupt():
                for some in islice(coming, _AHEAD * jobs - len(waiting)):
                    waiting.append((some, pool.submit(_answer, settings, some)))
            if not waiting:
                break
            some, future = waiting[0]
            _wait(future, some, settings.deadline_ms, jobs)
            yield from future.result()
            waiting.popleft()
    except BrokenProcessPool as error:
        name = printable(waiting[0][0][0].name) if waiting else "the first file"
        raise EngineError(
            f"--jobs {jobs}: a process died, killed or out of memory; {name} and those after it "
            "have no answer; try fewer jobs"
        ) from error
    finally:
        # Nobody waits for what is still being worked on: there is nothing, or it was interrupted.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)


def _wait(
    future: Future[list[Answer]], tasks: Sequence[Task], deadline_ms: float | None, jobs: int
) -> None:
    """Wait for the oldest share: it is being worked on, or is what a free process takes next.

    Raises:
        EngineError: it takes longer than the deadlines of its files allow.
    """
    if deadline_ms is None:
        return
    limit = len(tasks) * deadline_ms / 1e3 + _GRACE_S
    if not wait([future], limit).done:
        raise EngineError(
            f"--jobs {jobs}: a process hangs; {printable(tasks[0].name)} and those after it have "
            f"no answer after {limit:g} s"
        )


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let what is started meanwhile never see Ctrl-C, which a terminal sends to all; this does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    import cv2

    cv2.setNumThreads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes; they would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@cache
def _pipeline(settings: Settings) -> Pipeline:
    return settings.open()


def _answer(settings: Settings, tasks: Sequence[Task]) -> list[Answer]:
    return [answer(_pipeline(settings), task, settings.as_json) for task in tasks]
