"""Workers of a Dask scheduler, on any number of machines.

Dask carries shares to workers and says which of them live; it keeps nothing. What is done is what
the store has.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.archive.outcome import Outcome
from orthoedge.clinic.archive.worker import (
    Share,
    ShareResult,
    WorkerSettings,
    open_worker,
    run_share,
)
from orthoedge.runtime.errors import EngineError, MissingDependency, OrthoEdgeError

if TYPE_CHECKING:
    from distributed import Future, Worker

__all__ = ["ClusterWorkers"]

_AHEAD = 2  # shares of a thread of a worker: one in work, one that waits
_PAUSE_S = 1.0
_COUNT_S = 2.0  # between two looks at which workers are there
_PATIENCE_S = 60.0  # for the scheduler to answer, and for a worker that is not refused


@dataclass
class _Place:
    """An accepted worker, and its shares in the order in which it was given them."""

    threads: int
    shares: dict[str, tuple[Share, Future[ShareResult]]] = field(default_factory=dict)

    def room(self) -> int:
        return _AHEAD * self.threads - len(self.shares)


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
        # It logs a traceback where the scheduler is lost, which `wait` says in a line.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        self._settings, self._address = settings, address
        self._topic = f"orthoedge-{settings.token}"
        self.notes: deque[str] = deque()
        self._heard: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Future[ShareResult]] = queue.SimpleQueue()
        self._accepted: set[str] = set()
        self._refusals: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._homeless: deque[Share] = deque()
        self._dead: list[Outcome] = []
        self._looked_at = 0.0
        try:
            self._client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(f"no Dask scheduler answers at {address}: {error}") from error
        try:
            self._client.subscribe_topic(self._topic, lambda event: self._heard.put(event[1]))
            self._client.register_plugin(_plugin(settings, self._topic), name=self._topic)
            page = self._client.dashboard_link
            self.notes.append(f"Dask's page, where its scheduler has bokeh: {page}")
            self._await_workers()
        except OSError as error:
            self.close()
            raise self._lost() from error
        except BaseException:
            self.close()
            raise

    def _await_workers(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not self.workers():
            if time.monotonic() > deadline:
                reasons = "; ".join(sorted(self._refusals))
                raise EngineError(
                    f"{self._address}: no worker can be used in {_PATIENCE_S:.0f} s"
                    + (f": {reasons}" if reasons else f"; start dask worker {self._address}")
                )
            time.sleep(0.1)
            self._looked_at = 0.0
            self._look()

    def workers(self) -> int:
        """How many threads the accepted workers have."""
        return sum(place.threads for place in self._places.values())

    def room(self) -> int:
        """How many shares can be submitted now."""
        return sum(place.room() for place in self._places.values()) - len(self._homeless)

    def submit(self, share: Share) -> None:
        """Give a share to the worker that has most room."""
        address, place = max(self._places.items(), key=lambda item: item[1].room())
        future = self._client.submit(
            run_share,
            self._settings,
            share,
            key=f"share-{time.monotonic_ns()}",
            # A worker that was not checked must get none, and only this one is known to be there.
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        place.shares[future.key] = share, future
        future.add_done_callback(self._ended.put)

    def wait(self) -> list[Outcome]:
        """Wait up to a second for shares to end.

        Raises:
            OrthoEdgeError: as `run_share`; EngineError: the scheduler is lost.
            OSError: as `run_share`.
        """
        outcomes = []
        with suppress(queue.Empty):
            outcomes += self._outcome(self._ended.get(timeout=_PAUSE_S))
            while True:
                outcomes += self._outcome(self._ended.get_nowait())
        if self._client.status != "running":
            raise self._lost()
        self._look()
        while self._homeless and self._places:
            self.submit(self._homeless.popleft())
        outcomes += self._dead
        self._dead = []
        return outcomes

    def _look(self) -> None:
        """See which workers are there, and take the shares of those that are not."""
        now = time.monotonic()
        if now - self._looked_at < _COUNT_S:
            return
        self._looked_at = now
        with suppress(queue.Empty):
            while True:
                said = self._heard.get_nowait()
                self.notes.append(said["refused"] or said["line"])
                if said["refused"]:
                    self._refusals.add(said["refused"])
                else:
                    self._accepted.add(said["address"])
        try:
            threads: dict[str, int] = self._client.nthreads()
        except (OSError, RuntimeError, ValueError) as error:
            raise self._lost() from error
        for address in self._accepted & threads.keys() - self._places.keys():
            self._places[address] = _Place(threads[address])
        for address in self._places.keys() - threads.keys():
            self._bury(self._places.pop(address))
            self._accepted.discard(address)
            self.notes.append(f"worker at {address} is gone, {len(self._places)} are left")

    def _bury(self, place: _Place) -> None:
        """Shares that were in work may be the cause; those that waited are not."""
        for number, (share, future) in enumerate(place.shares.values()):
            future.release()
            if number < place.threads:
                self._dead.append(Outcome(share, None))
            else:
                self._homeless.append(share)

    def _outcome(self, future: Future[ShareResult]) -> list[Outcome]:
        """What became of a share; empty if it was taken from a worker that is gone."""
        for place in self._places.values():
            if future.key in place.shares:
                share, _ = place.shares.pop(future.key)
                break
        else:
            return []
        if future.status == "finished":
            return [Outcome(share, future.result())]
        error = future.exception() if future.status == "error" else None
        if isinstance(error, OrthoEdgeError | OSError):
            raise error
        if error is None:
            raise self._lost()
        raise EngineError(f"a worker failed: {type(error).__name__}: {error}") from error

    def _lost(self) -> EngineError:
        return EngineError(f"{self._address}: the scheduler is lost")

    def close(self) -> None:
        """Leave the scheduler; its workers stay."""
        for place in self._places.values():
            for _, future in place.shares.values():
                future.release()
        if self._client.status == "running":
            self._client.unregister_worker_plugin(self._topic)
        self._client.close(timeout=5)


def _plugin(settings: WorkerSettings, topic: str) -> Any:
    """What Dask runs on every worker once, also on those that come later."""
    from distributed import WorkerPlugin

    class Check(WorkerPlugin):  # type: ignore[misc]
        async def setup(self, worker: Worker) -> None:
            await _introduce(worker, settings, topic)

    return Check()


async def _introduce(worker: Worker, settings: WorkerSettings, topic: str) -> None:
    """Open the engine; say on the topic which it is, or why this worker cannot be used."""
    import asyncio

    line = refused = ""
    try:
        line = (await asyncio.to_thread(open_worker, settings)).describe()
    except Exception as error:  # a worker that cannot be used must not take the others along
        refused = str(error) or type(error).__name__
        if not isinstance(error, EngineError) or "refused" not in refused:
            refused = f"worker at {worker.address} refused: {refused}"
    worker.log_event(topic, {"address": worker.address, "line": line, "refused": refused})
