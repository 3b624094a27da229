"""Server-sent events: new findings, the progress of a batch, the state of the engine.

New findings are read from the history, so that those of the node, another process, come too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from orthoedge.clinic.history import FindingSummary, History, SearchQuery

__all__ = ["EngineEvent", "Events", "Progress"]

_POLL_S = 2.0
_ALIVE_S = 15.0  # after which a line is sent, so that a connection that is gone is noticed
_MOST_WAITING = 1000


class Progress(msgspec.Struct, frozen=True):
    """Files of the batch that is in work."""

    done: int
    total: int


class EngineEvent(msgspec.Struct, frozen=True):
    """State of the engine's process: `absent`, `starting` or `ready`."""

    state: str


class Events:
    """Sends events to every page that listens; used in the server's event loop alone.

    Args:
        history: is asked for new findings while anyone listens.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._listeners: set[asyncio.Queue[bytes | None]] = set()  # None ends one
        self.has_ended = False
        """Whether the server ends."""
        self._new = asyncio.Event()
        self._last = 0
        self.done = 0
        self.total = 0
        self.engine_state = "absent"

    def send(self, name: str, data: msgspec.Struct) -> None:
        """Send an event; a page that does not read loses it."""
        line = b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
        for listener in self._listeners:
            if listener.qsize() < _MOST_WAITING:
                listener.put_nowait(line)

    def engine_changed(self, state: str) -> None:
        """Send the new state of the engine."""
        self.engine_state = state
        self.send("engine", EngineEvent(state))

    def file_came(self) -> None:
        """Count a file; the batch begins with the first that comes while none is in work."""
        if self.done == self.total:
            self.done = self.total = 0
        self.total += 1
        self.send("progress", Progress(self.done, self.total))

    def file_done(self) -> None:
        """Count a file that was answered or given up."""
        self.done += 1
        self._new.set()
        self.send("progress", Progress(self.done, self.total))

    def end(self) -> None:
        """End every `listen`, for the server ends; a later one ends at once."""
        self.has_ended = True
        for listener in self._listeners:
            listener.put_nowait(None)

    async def listen(self) -> AsyncIterator[bytes]:
        """Events as they come until `end`, with a comment now and then that is no event."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield b"retry: 2000\n\n"
            self.engine_changed(self.engine_state)
            while not self.has_ended:
                try:
                    line = await asyncio.wait_for(queue.get(), _ALIVE_S)
                except asyncio.TimeoutError:
                    line = b": alive\n\n"
                if line is not None:
                    yield line
        finally:
            self._listeners.discard(queue)

    async def watch_history(self) -> None:
        """Send an event for each new finding, for as long as the server runs."""
        self._last = await asyncio.to_thread(self._newest)
        while True:
            try:
                await asyncio.wait_for(self._new.wait(), _POLL_S)
            except asyncio.TimeoutError:
                if not self._listeners:
                    continue
            self._new.clear()
            for summary in await asyncio.to_thread(self._since):
                self._last = summary.number
                self.send("finding", summary)

    def _newest(self) -> int:
        newest = self._history.search(SearchQuery(limit=1))
        return newest[0].number if newest else 0

    def _since(self) -> list[FindingSummary]:
        query = SearchQuery(after=self._last, limit=_MOST_WAITING)
        return self._history.search(query)[::-1]
