"""Workers of a Dask scheduler, on any number of machines.

Dask places shares and moves those of a worker that died; it keeps nothing. What is done is what
the store has.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.archive.outcome import Outcome
from orthoedge.clinic.archive.worker import Share, WorkerSettings, open_worker, run_share
from orthoedge.runtime.errors import EngineError, MissingDependency, OrthoEdgeError

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

__all__ = ["ClusterWorkers"]

_AHEAD = 2  # shares of a thread of a worker: one in work, one that waits
_PAUSE_S = 1.0
_COUNT_S = 5.0  # between two counts of the workers
_PATIENCE_S = 60.0  # for the scheduler to answer, and for a worker that is not refused


class ClusterWorkers:
    """Workers that were started with `dask worker ADDRESS`, also those that come later.

    Each opens its engine once and checks it before it is given a share; one that fails is refused.

    Args:
        settings: of each worker.
        address: of the scheduler, such as `tcp://host:8786`.

    Raises:
        MissingDependency: Dask is not installed.
        EngineError: the scheduler does not answer, or every worker was refused.
    """

    def __init__(self, settings: WorkerSettings, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingDependency("distributed", "cluster", "--cluster") from error
        self._settings, self._address = settings, address
        self._resource = f"orthoedge-{settings.token}"
        self.notes: deque[str] = deque()
        self._accepted: set[str] = set()
        self._refused: dict[str, str] = {}
        self._threads, self._counted_at = 0, 0.0
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._shares: dict[str, tuple[Share, Future[Any]]] = {}
        try:
            self._client: Client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(f"no Dask scheduler answers at {address}: {error}") from error
        try:
            self._client.subscribe_topic(self._resource, self._hear)
            self._client.register_plugin(_plugin(settings, self._resource), name=self._resource)
            self.notes.append(f"Dask's page: {self._client.dashboard_link}")
            self._await_workers()
        except BaseException:
            self.close()
            raise

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        """Take what a worker says of itself; called in a thread of Dask's."""
        said = event[1]
        if said["refused"]:
            self._refused[said["address"]] = said["refused"]
            self.notes.append(said["refused"])
        else:
            self._accepted.add(said["address"])
            self.notes.append(said["line"])

    def _await_workers(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not self.workers():
            if time.monotonic() > deadline:
                reasons = "; ".join(sorted(set(self._refused.values())))
                raise EngineError(
                    f"{self._address}: no worker can be used in {_PATIENCE_S:.0f} s"
                    + (f": {reasons}" if reasons else f"; start dask worker {self._address}")
                )
            time.sleep(0.1)
            self._counted_at = 0.0

    def workers(self) -> int:
        """How many threads the accepted workers have."""
        now = time.monotonic()
        if now - self._counted_at >= _COUNT_S:
            self._counted_at = now
            try:
                threads = self._client.nthreads()
            except (OSError, RuntimeError, ValueError) as error:
                raise self._lost() from error
            # Workers die and come back under another address; the events say which were accepted.
            self._threads = sum(threads.get(each, 0) for each in tuple(self._accepted))
        return self._threads

    def room(self) -> int:
        """How many shares can be submitted now."""
        return _AHEAD * self.workers() - len(self._shares)

    def submit(self, share: Share) -> None:
        """Give a share to the scheduler."""
        future = self._client.submit(
            run_share,
            self._settings,
            share,
            key=f"share-{time.time_ns()}",
            resources={self._resource: 1},
            pure=False,
        )
        self._shares[future.key] = share, future
        future.add_done_callback(self._ended.put)

    def wait(self) -> list[Outcome]:
        """Wait up to a second for shares to end.

        Raises:
            OrthoEdgeError: as `run_share`; EngineError: the scheduler is lost.
            OSError: as `run_share`.
        """
        outcomes = []
        try:
            outcomes.append(self._outcome(self._ended.get(timeout=_PAUSE_S)))
            while True:
                outcomes.append(self._outcome(self._ended.get_nowait()))
        except queue.Empty:
            pass
        if self._client.status != "running":
            raise self._lost()
        return outcomes

    def _outcome(self, future: Future[Any]) -> Outcome:
        from distributed import KilledWorker

        share, _ = self._shares.pop(future.key)
        if future.status == "finished":
            return Outcome(share, future.result())
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return Outcome(share, None)
        if isinstance(error, OrthoEdgeError | OSError):
            raise error
        if error is None:
            raise self._lost()
        raise EngineError(f"a worker failed: {type(error).__name__}: {error}") from error

    def _lost(self) -> EngineError:
        return EngineError(
            f"{self._address}: the scheduler is lost; what is done is kept, and the same command "
            "goes on with the rest"
        )

    def close(self) -> None:
        """Leave the scheduler; its workers stay."""
        for _, future in self._shares.values():
            future.release()
        if self._client.status == "running":
            self._client.unregister_worker_plugin(self._resource)
        self._client.close(timeout=5)


def _plugin(settings: WorkerSettings, resource: str) -> Any:
    """What Dask runs on every worker once, also on those that come later."""
    from distributed import WorkerPlugin

    class Check(WorkerPlugin):  # type: ignore[misc]
        async def setup(self, worker: Worker) -> None:
            await _introduce(worker, settings, resource)

    return Check()


async def _introduce(worker: Worker, settings: WorkerSettings, resource: str) -> None:
    """Open the engine; give the worker the resource that shares ask for, or say why not."""
    import asyncio

    line = refused = ""
    try:
        line = (await asyncio.to_thread(open_worker, settings)).describe()
        await worker.set_resources(**{resource: worker.state.nthreads})
    except Exception as error:  # a worker that cannot be used must not take the others along
        refused = str(error) or type(error).__name__
        if not isinstance(error, EngineError) or "refused" not in refused:
            refused = f"worker at {worker.address} refused: {refused}"
    worker.log_event(resource, {"address": worker.address, "line": line, "refused": refused})
