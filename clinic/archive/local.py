"""Workers on this machine: processes, each replaced when it dies."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from orthoedge.clinic.archive.outcome import Outcome
from orthoedge.clinic.archive.worker import Share, ShareResult, WorkerSettings, run_share
from orthoedge.targets.processes import EngineProcesses, no_interrupt

__all__ = ["LocalWorkers"]

_AHEAD = 2  # shares of a process: one in work, one that waits
_PAUSE_S = 1.0


@dataclass
class _Process:
    """A pool of one, so that a death is that of a known share."""

    pool: ProcessPoolExecutor
    pending: deque[tuple[Share, Future[ShareResult]]] = field(default_factory=deque)


class LocalWorkers:
    """Processes of this machine.

    Args:
        settings: of each worker.
        jobs: processes.
    """

    def __init__(self, settings: WorkerSettings, jobs: int) -> None:
        self._settings = settings
        self._processes = EngineProcesses(settings.threads)
        self._workers = [_Process(self._processes.start_pool(1)) for _ in range(jobs)]
        self.notes: deque[str] = deque()
        """Lines for the terminal that were not shown yet."""

    def workers(self) -> int:
        """How many there are."""
        return len(self._workers)

    def room(self) -> int:
        """How many shares can be submitted now."""
        return sum(_AHEAD - len(worker.pending) for worker in self._workers)

    def submit(self, share: Share) -> None:
        """Give a share to the worker that has fewest."""
        self._submit(min(self._workers, key=lambda worker: len(worker.pending)), share)

    def _submit(self, worker: _Process, share: Share) -> None:
        with no_interrupt():
            worker.pending.append((share, worker.pool.submit(run_share, self._settings, share)))

    def wait(self) -> list[Outcome]:
        """Wait up to a second for shares to end.

        Raises:
            OrthoEdgeError: as `run_share`.
            OSError: as `run_share`.
        """
        oldest = [worker.pending[0][1] for worker in self._workers if worker.pending]
        wait(oldest, _PAUSE_S, FIRST_COMPLETED)
        return [outcome for worker in self._workers for outcome in self._collect(worker)]

    def _collect(self, worker: _Process) -> list[Outcome]:
        outcomes = []
        while worker.pending and worker.pending[0][1].done():
            share, future = worker.pending.popleft()
            try:
                outcomes.append(Outcome(share, future.result()))
            except BrokenProcessPool:
                outcomes.append(Outcome(share, None))
                waiting = [share for share, _ in worker.pending]
                worker.pending.clear()
                worker.pool = self._processes.replace_pool(worker.pool)
                for share in waiting:
                    self._submit(worker, share)
        return outcomes

    def close(self) -> None:
        """End the processes."""
        self._processes.end()
