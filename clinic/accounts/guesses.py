"""The limit of guesses: after some wrong passwords, each further one needs a longer wait."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Guesses"]

_FREE = 5
_LONGEST_S = 900.0
_FORGET_S = 3600.0
_MOST = 10_000  # names and addresses that are remembered


class Guesses:
    """Counts wrong passwords by name and by address; threads may share it.

    By both, since one address may try many names, and many addresses one. Nothing is locked for
    good: that would let anyone lock out a physician.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Count a password before it is checked; seconds to wait, and then it is not counted.

        Before, so that a hundred at the same time are not all the first one.
        """
        now, keys = self._clock(), (("name", name), ("address", address))
        with self._lock:
            if (wait := max(map(self._wait, keys))) > 0:
                return wait
            for key in keys:
                count, last = self._wrong.pop(key, (0, now))
                count = 0 if now - last > _FORGET_S else count
                self._wrong[key] = (count + 1, now)
            while len(self._wrong) > _MOST:
                self._wrong.popitem(last=False)
            return 0.0

    def wrong(self, name: str, address: str) -> None:
        """Begin the wait now: checking a password takes a while too."""
        with self._lock:
            for key in (("name", name), ("address", address)):
                if key in self._wrong:
                    self._wrong[key] = (self._wrong[key][0], self._clock())

    def right(self, name: str, address: str) -> None:
        """Forget the wrong passwords of a name, and that this one was counted for the address.

        Not all of the address: whoever guesses from there may have an account too.
        """
        with self._lock:
            self._wrong.pop(("name", name), None)
            count, last = self._wrong.get(("address", address), (0, 0.0))
            if count:
                self._wrong["address", address] = (count - 1, last)

    def _wait(self, key: tuple[str, str]) -> float:
        count, last = self._wrong.get(key, (0, 0.0))
        if count < _FREE:
            return 0.0
        delay = min(2.0 ** min(count - _FREE, 20), _LONGEST_S)
        return max(0.0, last + delay - self._clock())
