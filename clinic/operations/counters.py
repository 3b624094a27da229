"""What the worker counts, in a file, so that it goes on counting after a restart.

The file is renamed into place but not synced: a power cut may cost the last counts, never an image.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from orthoedge.clinic.log import Log

__all__ = ["SECONDS", "CounterFile", "Counters", "read_counters"]

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets of times."""
_LATEST = 500  # out-of-distribution scores, of which the quantiles are


class Counters(msgspec.Struct, kw_only=True):
    """Counts since the spool was made."""

    decisions: dict[str, int] = msgspec.field(default_factory=dict)
    """Answers by decision."""
    dead: int = 0
    """Images that got no answer."""
    failures: int = 0
    """Attempts that failed and were made again."""
    answering: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Answers whose making took at most as many seconds as the bucket says, and no bucket before
    it; the last is for those above all."""
    answering_sum: float = 0.0
    """Seconds."""
    turnaround: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Likewise of the time from the receipt of an image to its answer."""
    turnaround_sum: float = 0.0
    score_sum: float = 0.0
    """Of the out-of-distribution scores."""
    latest_scores: list[float] = msgspec.field(default_factory=list)
    """The last 500 of them."""


class CounterFile:
    """Counts what the worker does.

    Args:
        path: the file; begun again, with a line in the log, if it is damaged.
        log: takes that line.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        try:
            self._counters = read_counters(path)
        except (msgspec.DecodeError, ValueError):
            log("counters begun again: their file was damaged")
            self._counters = Counters()

    def count_answer(
        self, decision: str, score: float, answering_s: float, turnaround_s: float
    ) -> None:
        """Count one answer.

        Args:
            decision: of the finding.
            score: out-of-distribution score of the finding.
            answering_s: seconds that it took.
            turnaround_s: seconds since the image was received.
        """
        counters = self._counters
        counters.decisions[decision] = counters.decisions.get(decision, 0) + 1
        counters.answering[_bucket(answering_s)] += 1
        counters.answering_sum += answering_s
        counters.turnaround[_bucket(turnaround_s)] += 1
        counters.turnaround_sum += turnaround_s
        counters.score_sum += score
        counters.latest_scores = [*counters.latest_scores, round(score, 4)][-_LATEST:]
        self._write()

    def count_dead(self) -> None:
        """Count an image that got no answer."""
        self._counters.dead += 1
        self._write()

    def count_failure(self) -> None:
        """Count an attempt that failed."""
        self._counters.failures += 1
        self._write()

    def _write(self) -> None:
        temporary = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: they are written with the next count
            temporary.write_bytes(msgspec.json.encode(self._counters))
            temporary.replace(self._path)


def read_counters(path: Path) -> Counters:
    """Read the counters; all are 0 if there is no file yet.

    Raises:
        msgspec.DecodeError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Counters)
    except FileNotFoundError:
        return Counters()


def _bucket(seconds: float) -> int:
    return sum(seconds > bound for bound in SECONDS)
