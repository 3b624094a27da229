"""How far a run is: the rate, and a range of what is left."""

from __future__ import annotations

import time
from collections import deque

from orthoedge.runtime.settings import plain

__all__ = ["Progress"]

_WINDOW_S = 120.0


class Progress:
    """Counts inputs, and estimates the time that is left from two rates.

    One rate is that of this run, the other that of its last two minutes. Where they differ the
    line says a range: inputs that are slower than those before make it wide, not wrong.

    Args:
        listed: inputs of the source.
        left: inputs that have no row yet.
    """

    def __init__(self, listed: int, left: int) -> None:
        self._listed, self._left = listed, left
        self._began_at = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._began_at, 0)])
        self.done = self.failed = 0

    def add(self, done: int, failed: int) -> None:
        """Count inputs that now have a row, and how many of them have no answer."""
        self.done += done
        self.failed += failed
        now = time.monotonic()
        self._recent.append((now, self.done))
        while len(self._recent) > 2 and self._recent[1][0] <= now - _WINDOW_S:
            self._recent.popleft()

    def counts(self) -> str:
        """How many inputs have a row, those of earlier runs included, and how many there are."""
        return f"{plain(self._listed - self._left + self.done)} of {plain(self._listed)}"

    def line(self) -> str:
        """Counts, rate and remaining time."""
        now = time.monotonic()
        counts = self.counts()
        if self.failed:
            counts += f", {plain(self.failed)} without an answer"
        since, before = self._recent[0]
        rates = [
            (self.done - count) / (now - at)
            for at, count in ((self._began_at, 0), (since, before))
            if now > at and self.done > count
        ]
        left = self._left - self.done
        if not rates or not left:
            return counts
        least, most = left / max(rates), left / min(rates)
        return f"{counts}, {plain(rates[-1], 3)} a second, {_range(least, most)} left"


def _range(least: float, most: float) -> str:
    low, high = _duration(least), _duration(most)
    return f"about {high}" if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{plain(seconds / length, 2)} {unit}"
    return f"{plain(max(1.0, seconds), 2)} seconds"
