"""Timing that survives a noisy machine: candidates take turns, and are compared round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.schema import Interval, Quantiles

Samples = npt.NDArray[np.float64]

_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""97.5th percentiles of Student's t for 1, 2, 3, … degrees of freedom."""
_NORMAL = 1.96


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


@dataclass(frozen=True)
class Turn:
    """What a candidate does when its turn comes."""

    settle: int
    """Untimed calls first. What ran before left its worker threads spinning and its data in the
    caches; without these, whoever comes after the heaviest candidate pays for it."""
    calls: int
    """Timed calls after them."""


def in_turns(
    candidates: Mapping[str, Callable[[int], object]],
    turns: Mapping[str, Turn],
    *,
    rounds: int,
    first: int = 0,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Samples]:
    """Time the candidates in turn, A B C A B C, so that drift of the machine hits all alike.

    Args:
        candidates: by name; called in the mapping's order with the number of a radiograph, which
            grows by one from round to round and from timed call to timed call.
        turns: of each candidate.
        rounds: how often each has its turn.
        first: number of the first radiograph.
        clock: returns nanoseconds.

    Returns:
        Of each candidate float64 (rounds, calls), in ms.
    """
    samples = {name: np.empty((rounds, turns[name].calls)) for name in candidates}
    for i in range(rounds):
        for name, call in candidates.items():
            number, times = first + i, samples[name][i]
            for _ in range(turns[name].settle):
                call(number)
            for j in range(len(times)):
                start = clock()
                call(number + j)
                times[j] = (clock() - start) / 1e6
    return samples


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    settle: int | Mapping[str, int] = 1,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Timings]:
    """Time one call of each candidate in turn.

    Args:
        candidates: by name; called in the mapping's order.
        rounds: timed calls of each.
        warmup: untimed rounds before, in the same order.
        settle: untimed calls of a candidate right before each of its timed ones, of all or of each;
            see `Turn`.
        clock: returns nanoseconds.

    Raises:
        ValueError: no rounds, or a negative warm-up or settling.
    """
    if not isinstance(settle, Mapping):
        settle = dict.fromkeys(candidates, settle)
    if rounds < 1 or min(warmup, *settle.values()) < 0:
        raise ValueError(
            f"expected rounds >= 1, warmup >= 0, settle >= 0; got {rounds}, {warmup}, {settle}"
        )
    for _ in range(warmup):
        for call in candidates.values():
            call()
    numbered = {name: _unnumbered(call) for name, call in candidates.items()}
    turns = {name: Turn(settle[name], calls=1) for name in candidates}
    samples = in_turns(numbered, turns, rounds=rounds, clock=clock)
    return {name: Timings(times[:, 0]) for name, times in samples.items()}


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


def ratio_over_processes(
    first: Sequence[Samples],
    second: Sequence[Samples],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """How many times as long `first` takes as `second`, as far as another run would find it again.

    The two are compared round by round, median of a turn over median of a turn, so that a slow
    spell hits both; the median of the rounds is the ratio. Processes differ, by where their memory
    and threads lie, by more than their rounds do. So processes are drawn with replacement, and
    within each its rounds (bootstrap of clusters: Davison & Hinkley, Bootstrap Methods and their
    Application, 1997, section 3.8). Drawn from few, processes vary too little: the interval is
    widened, on the ratio's logarithm, by Student's t over the normal's quantile and by the square
    root of P / (P - 1).

    Args:
        first: of each of P processes (rounds, calls), in ms.
        second: the same of the other candidate; the same rounds, any number of calls.
        resamples: how many are drawn.
        seed: the same seed, the same draws.

    Raises:
        ValueError: no process, or the two do not come from the same rounds.
    """
    counts = [len(samples) for samples in first]
    if not counts or counts != [len(samples) for samples in second]:
        raise ValueError("expected samples of the same rounds of one process or more")
    rng = np.random.default_rng(seed)
    logs = [
        np.log(np.median(a, axis=1) / np.median(b, axis=1))
        for a, b in zip(first, second, strict=True)
    ]
    value = np.median(np.concatenate(logs))
    drawn = np.empty(resamples)
    for i in range(resamples):
        processes = rng.integers(0, len(logs), len(logs))
        rounds = [rng.choice(logs[process], counts[process]) for process in processes]
        drawn[i] = np.median(np.concatenate(rounds))
    ends = np.percentile(drawn, (2.5, 97.5))
    low, high = np.exp(value + (ends - value) * _widening(len(logs)))
    return Interval(value=float(np.exp(value)), low=float(low), high=float(high))


def _widening(processes: int) -> float:
    """How much wider than the bootstrap's an interval is; one process tells nothing of others."""
    if processes == 1:
        return 1.0
    t = _T[min(processes - 1, len(_T)) - 1]
    return float(t / _NORMAL * np.sqrt(processes / (processes - 1)))


def _unnumbered(call: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: call()


def quantiles(samples_ms: npt.NDArray[np.float64]) -> Quantiles:
    """Percentiles of milliseconds (n,), in any order; p99 from 100 of them on, p99.9 from 1,000.

    Raises:
        ValueError: there are none.
    """
    if samples_ms.ndim != 1 or len(samples_ms) == 0:
        raise ValueError(f"expected samples (n,) with n of 1 or more, got {samples_ms.shape}")
    curve = np.percentile(samples_ms, np.arange(101))
    count = len(samples_ms)
    return Quantiles(
        count=count,
        mean=float(samples_ms.mean()),
        p50=float(curve[50]),
        p90=float(curve[90]),
        p99=float(curve[99]) if count >= 100 else None,
        p999=float(np.percentile(samples_ms, 99.9)) if count >= 1000 else None,
        curve=tuple(map(float, curve)),
    )


_PAIRS = 10_001


def timer_ns(clock: Callable[[], int] = perf_counter_ns) -> float:
    """Nanoseconds between two readings of the clock with nothing in between; median of many."""
    gaps = np.empty(_PAIRS)
    for i in range(_PAIRS):
        begun = clock()
        gaps[i] = clock() - begun
    return float(np.median(gaps))
