"""One run over an archive: what is left is listed, shared out, and retried where a worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from orthoedge.clinic.archive.inputs.sources import list_inputs
from orthoedge.clinic.archive.outcome import Outcome, Workers
from orthoedge.clinic.archive.plan import Plan
from orthoedge.clinic.archive.progress import Progress
from orthoedge.clinic.archive.rows import RunRecord
from orthoedge.clinic.archive.worker import (
    Share,
    ShareResult,
    WorkerSettings,
    failed_row,
    write_rows,
)
from orthoedge.runtime.errors import DataError, EngineError

__all__ = ["RunSummary", "Watcher", "run_archive"]

_ROWS = 256  # of a part: a kill costs at most the work of one
_SHARES = 4  # at least, for each worker, so that the last ones end at about the same time
_DEATHS = 3  # of workers over one input, until it counts as the cause
# Deaths of workers without one share that ends between them: then no input is the cause. Halving a
# share meets fewer.
_ONLY_DEATHS = 20


class Watcher(Protocol):
    """Shows how a run goes on."""

    def progress(self, progress: Progress) -> None:
        """Called at least every few seconds."""

    def note(self, line: str) -> None:
        """One line about a worker."""


@dataclass(frozen=True)
class RunSummary:
    """What one run did."""

    listed: int
    """Inputs of the source."""
    done: int
    """Inputs that this run gave a row; the others had one."""
    failed: int
    """Of those done, inputs without an answer."""
    unanswered: int
    """Rows of the store without an answer, those of earlier runs included."""


def run_archive(
    source: str,
    settings: WorkerSettings,
    record: RunRecord,
    start: Callable[[WorkerSettings], Workers],
    watcher: Watcher,
    *,
    retry_errors: bool = False,
) -> RunSummary:
    """Give every input of a source its row, except those that have one from this bundle.

    Args:
        source: as for `list_inputs`.
        settings: of the workers; the token is filled in here.
        record: what makes the rows.
        start: starts the workers.
        watcher: is told how it goes on.
        retry_errors: do inputs again that have no answer.

    Raises:
        DataError: the source cannot be read or has no input, or another run works on the store.
        ConfigError: the store has rows that were made in another way.
        EngineError: a worker's engine failed, or the cluster is lost.
        OSError: the store cannot be written.
    """
    store = settings.store
    store.check(record)
    # Listed before the store is made, so that a source that cannot be read leaves nothing behind.
    with closing(Plan(list_inputs(source, settings.authorization))) as plan:
        if not plan.listed:
            raise DataError(f"{source}: no radiographs")
        with store.opened(record) as token:
            if retry_errors:
                store.tidy(drop_errors=True)
            plan.leave_out(store.done())
            progress = Progress(plan.listed, plan.left)
            watcher.progress(progress)
            if plan.left:
                _work(plan, replace(settings, token=token), start, progress, watcher)
            store.tidy()
            unanswered = store.failures()
    return RunSummary(plan.listed, progress.done, progress.failed, unanswered)


def _work(
    plan: Plan,
    settings: WorkerSettings,
    start: Callable[[WorkerSettings], Workers],
    progress: Progress,
    watcher: Watcher,
) -> None:
    workers = start(settings)
    try:
        size = max(1, min(_ROWS, plan.left // (_SHARES * workers.workers())))
        shares, again = plan.shares(size), _Retries(max(_ONLY_DEATHS, 2 * workers.workers()))
        pending = 0
        while True:
            room = workers.room()
            while room > 0 and (share := again.take() or next(shares, None)):
                workers.submit(share)
                pending, room = pending + 1, room - 1
            if room > 0 and not pending:  # without room all workers are gone, and others may come
                return
            for outcome in workers.wait():
                pending -= 1
                done = again.settle(outcome, settings)
                if done is not None:
                    progress.add(done.done, done.failed)
            while workers.notes:
                watcher.note(workers.notes.popleft())
            watcher.progress(progress)
    finally:
        workers.close()


class _Retries:
    """Shares whose worker died: halved until the input that kills workers is alone."""

    def __init__(self, only_deaths: int) -> None:
        self._waiting: deque[Share] = deque()
        self._deaths: dict[bytes, int] = {}
        self._only_deaths, self._in_a_row = only_deaths, 0

    def take(self) -> Share | None:
        """The next one."""
        return self._waiting.popleft() if self._waiting else None

    def settle(self, outcome: Outcome, settings: WorkerSettings) -> ShareResult | None:
        """Return the result of a share, or plan it again and return None.

        An input that killed several workers alone gets its row here.

        Raises:
            EngineError: workers do nothing but die.
        """
        if outcome.result is not None:
            self._in_a_row = 0
            return outcome.result
        self._in_a_row += 1
        if self._in_a_row > self._only_deaths:
            raise EngineError(
                f"workers died {self._in_a_row} times in a row, killed or out of memory; try "
                "fewer jobs"
            )
        share = outcome.share
        if len(share) > 1:
            middle = len(share) // 2
            self._waiting += (share[:middle], share[middle:])
            return None
        (item,) = share
        deaths = self._deaths[item.address] = self._deaths.get(item.address, 0) + 1
        if deaths < _DEATHS:
            self._waiting.append(share)
            return None
        reason = f"the worker died each of {_DEATHS} times that it was read alone"
        return write_rows(settings, [failed_row(item, reason)])
