"""One step for many threads at once, where it costs the same for many as for one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Group"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Entry(Generic[_Item, _Result]):
    def __init__(self, item: _Item) -> None:
        self.item = item
        self.is_done = False
        self.results: list[_Result] = []
        self.error: BaseException | None = None


class Group(Generic[_Item, _Result]):
    """Lets the first of the threads that come do the step for all that wait meanwhile.

    A sync of the disk takes as long for eight images as for one, and one after another they would
    set the pace of the receiver.

    Args:
        step: does it for some items, and returns a result for each.
    """

    def __init__(self, step: Callable[[Sequence[_Item]], Sequence[_Result]]) -> None:
        self._step = step
        self._working = threading.Lock()
        self._listing = threading.Lock()
        self._waiting: list[_Entry[_Item, _Result]] = []

    def __call__(self, item: _Item) -> _Result:
        """Do the step for one item, together with those of other threads.

        Raises:
            BaseException: whatever the step raised, in each thread whose item it was given.
        """
        entry: _Entry[_Item, _Result] = _Entry(item)
        with self._listing:
            self._waiting.append(entry)
        with self._working:
            if not entry.is_done:
                self._do_step()
        if entry.error is not None:
            raise entry.error
        return entry.results[0]

    def _do_step(self) -> None:
        with self._listing:
            entries, self._waiting = self._waiting, []
        try:
            results = self._step([entry.item for entry in entries])
            for entry, result in zip(entries, results, strict=True):
                entry.results.append(result)
        except BaseException as error:
            for entry in entries:
                entry.error = error
        finally:
            for entry in entries:
                entry.is_done = True
