"""Timing that survives a noisy machine: candidates take turns, and are compared round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Timings:
    """One candidate's times."""

    samples_ms: npt.NDArray[np.float64]
    """(rounds,) milliseconds, in the order they were taken."""

    @property
    def p50(self) -> float:
        """Median, ms."""
        return float(np.percentile(self.samples_ms, 50))

    @property
    def p90(self) -> float:
        """90th percentile, ms."""
        return float(np.percentile(self.samples_ms, 90))

    @property
    def p99(self) -> float:
        """99th percentile, ms; interpolated towards the maximum below 100 rounds."""
        return float(np.percentile(self.samples_ms, 99))


@dataclass(frozen=True)
class Ratio:
    """How many times as long one candidate takes as another."""

    p50: float
    """Median of the one over median of the other."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    """Upper end of the 95 % bootstrap interval."""


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    settle: int = 1,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Timings]:
    """Time the candidates in turn, A B C A B C, so that drift of the machine hits all alike.

    Args:
        candidates: by name; called in the mapping's order.
        rounds: timed calls of each.
        warmup: untimed rounds before, in the same order.
        settle: untimed calls of a candidate right before each of its timed ones. What ran before
            left its worker threads spinning and its data in the caches; without this, whoever
            comes after the heaviest candidate pays for it.
        clock: returns nanoseconds.

    Raises:
        ValueError: no rounds, or a negative warm-up or settling.
    """
    if rounds < 1 or min(warmup, settle) < 0:
        raise ValueError(
            f"expected rounds >= 1, warmup >= 0, settle >= 0; got {rounds}, {warmup}, {settle}"
        )
    for _ in range(warmup):
        for call in candidates.values():
            call()
    samples = {name: np.empty(rounds) for name in candidates}
    for i in range(rounds):
        for name, call in candidates.items():
            for _ in range(settle):
                call()
            start = clock()
            call()
            samples[name][i] = (clock() - start) / 1e6
    return {name: Timings(times) for name, times in samples.items()}


def median_interval(times: Timings, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Ends of the median's 95 % bootstrap interval, ms."""
    samples = times.samples_ms
    drawn = np.random.default_rng(seed).integers(0, len(samples), (resamples, len(samples)))
    low, high = np.percentile(np.median(samples[drawn], axis=1), (2.5, 97.5))
    return float(low), float(high)


def ratio(first: Timings, second: Timings, *, resamples: int = 2000, seed: int = 0) -> Ratio:
    """Median of `first` over median of `second`, with a paired bootstrap interval.

    Rounds are drawn with replacement, the same rounds for both, so a slow spell that both went
    through widens neither (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

    Raises:
        ValueError: the two do not come from the same rounds.
    """
    a, b = first.samples_ms, second.samples_ms
    if a.shape != b.shape:
        raise ValueError(f"expected samples of the same rounds, got {a.shape} and {b.shape}")
    drawn = np.random.default_rng(seed).integers(0, len(a), (resamples, len(a)))
    ratios = np.median(a[drawn], axis=1) / np.median(b[drawn], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(np.median(a) / np.median(b)), float(low), float(high))
