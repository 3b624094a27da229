"""How long one call may take."""

from __future__ import annotations

import time

from orthoedge.runtime.errors import DeadlineExceeded


class Deadline:
    """Counts from a moment on a clock that nobody can set.

    Args:
        allowed_ms: milliseconds from `start`.
        start: a reading of `time.perf_counter`.
    """

    def __init__(self, allowed_ms: float, start: float) -> None:
        self._allowed_ms = allowed_ms
        self._start = start

    def left_s(self) -> float:
        """Seconds that are left; negative once it is past."""
        return self._start + self._allowed_ms / 1e3 - time.perf_counter()

    def check(self, stage: str) -> None:
        """Raise if it is past.

        Args:
            stage: what has just been done.

        Raises:
            DeadlineExceeded: the stage, the deadline and the time taken.
        """
        if self.left_s() < 0:
            raise self.exceeded(stage)

    def exceeded(self, stage: str) -> DeadlineExceeded:
        """The error that says so of a stage that is done, or was given up."""
        taken = (time.perf_counter() - self._start) * 1e3
        return DeadlineExceeded(
            f"{stage} overran the deadline of {self._allowed_ms:g} ms: {taken:.3g} ms "
            "since the call began"
        )
