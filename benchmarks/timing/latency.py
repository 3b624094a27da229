"""Interleaved timing: candidates are called in rounds and compared round by round.

A slow spell of the machine then affects all candidates alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.schema import Interval, Quantiles
from orthoedge.runtime.errors import MissingDependency

Samples = npt.NDArray[np.float64]

_RESAMPLES = 1000
_PAIRS = 10_001
_Input = TypeVar("_Input")


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
    """Time of one candidate over that of another, with its interval."""

    p50: float
    """Median of the first over median of the second."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    """Upper end of the 95 % bootstrap interval."""


@dataclass(frozen=True)
class CallCounts:
    """Number of calls of a candidate in one round."""

    warmup_calls: int
    """Untimed calls. The previous candidate leaves spinning worker threads and its own data in the
    caches; warm-up calls keep that cost out of the next candidate's times."""
    calls: int
    """Timed calls."""


class SelfTimed:
    """A call that reports its own milliseconds, such as a request to another program."""

    def __init__(self, call: Callable[[int], float]) -> None:
        self._call = call

    def __call__(self, number: int) -> float:
        """Milliseconds of one call on the radiograph of that number."""
        return self._call(number)


def numbered(call: Callable[[_Input], object], inputs: Sequence[_Input]) -> Callable[[int], object]:
    """A candidate that is called with the input of a number, modulo their count."""
    return lambda number: call(inputs[number % len(inputs)])


def unnumbered(call: Callable[[], object]) -> Callable[[int], object]:
    """A candidate that ignores the number of the radiograph."""
    return lambda _: call()


def run_rounds(
    candidates: Mapping[str, Callable[[int], object]],
    counts: Mapping[str, CallCounts],
    *,
    rounds: int,
    first: int = 0,
    _clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Samples]:
    """Time the candidates round by round: A B C A B C.

    Args:
        candidates: by name; called in the mapping's order with the number of a radiograph, which
            grows by one from round to round and from timed call to timed call. The result of a
            `SelfTimed` candidate is its time.
        counts: calls of each candidate in a round.
        rounds: number of rounds.
        first: number of the first radiograph.

    Returns:
        Of each candidate float64 (rounds, calls), in ms.
    """
    samples = {name: np.empty((rounds, counts[name].calls)) for name in candidates}
    for i in range(rounds):
        for name, call in candidates.items():
            number, times = first + i, samples[name][i]
            for _ in range(counts[name].warmup_calls):
                call(number)
            for j in range(len(times)):
                start = _clock()
                result = call(number + j)
                times[j] = (_clock() - start) / 1e6
                if isinstance(call, SelfTimed):
                    times[j] = result
    return samples


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    warmup_calls: int = 1,
    _clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Timings]:
    """Time one call of each candidate per round.

    Args:
        candidates: by name; called in the mapping's order.
        rounds: timed calls of each.
        warmup: untimed rounds before, in the same order.
        warmup_calls: untimed calls of a candidate right before each of its timed ones; see
            `CallCounts`.

    Raises:
        ValueError: no rounds, or a negative number of warm-up rounds or calls.
    """
    if rounds < 1 or min(warmup, warmup_calls) < 0:
        got = f"got {rounds}, {warmup}, {warmup_calls}"
        raise ValueError(f"expected rounds >= 1, warmup >= 0, warmup_calls >= 0; {got}")
    for _ in range(warmup):
        for call in candidates.values():
            call()
    calls = {name: unnumbered(call) for name, call in candidates.items()}
    counts = {name: CallCounts(warmup_calls, calls=1) for name in candidates}
    samples = run_rounds(calls, counts, rounds=rounds, _clock=_clock)
    return {name: Timings(times[:, 0]) for name, times in samples.items()}


def median_interval(times: Timings, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Ends of the median's 95 % bootstrap interval, ms."""
    samples = times.samples_ms
    drawn = np.random.default_rng(seed).integers(0, len(samples), (resamples, len(samples)))
    low, high = np.percentile(np.median(samples[drawn], axis=1), (2.5, 97.5))
    return float(low), float(high)


def ratio(first: Timings, second: Timings, *, resamples: int = 2000, seed: int = 0) -> Ratio:
    """Median of `first` over median of `second`, with a paired bootstrap interval.

    Rounds are drawn with replacement, the same rounds for both, so that a slow spell of both does
    not widen the interval (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

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
    numerator: Sequence[Samples], denominator: Sequence[Samples], *, resamples: int = _RESAMPLES
) -> Interval:
    """Time of one candidate over that of another, with an interval that another run reproduces.

    The two are compared round by round, median of a round's calls over median of a round's calls,
    so that a slow spell affects both. The median of the rounds is the ratio; its interval is that
    of `median_over_processes`, taken on the logarithm.

    Args:
        numerator: of each of P processes (rounds, calls), in ms.
        denominator: the same of the other candidate; the same rounds, any number of calls.
        resamples: number of bootstrap draws.

    Raises:
        ValueError: no process, or the two do not come from the same rounds.
    """
    pairs = _paired(numerator, denominator)
    logs = median_over_processes([np.log(a / b) for a, b in pairs], resamples=resamples)
    value, low, high = np.exp((logs.value, logs.low, logs.high)).tolist()
    return Interval(value=value, low=low, high=high)


def difference_over_processes(
    minuend: Sequence[Samples], subtrahend: Sequence[Samples]
) -> Interval:
    """Time of one candidate minus that of another, ms; otherwise as `ratio_over_processes`."""
    return median_over_processes([a - b for a, b in _paired(minuend, subtrahend)])


def median_over_processes(
    values: Sequence[Samples], *, resamples: int = _RESAMPLES, seed: int = 0
) -> Interval:
    """Median of the rounds of all processes, with its interval.

    Processes differ, by where their memory and threads lie, by more than their rounds do. So
    processes are drawn with replacement, and within each its rounds (bootstrap of clusters: Davison
    & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). A small number of
    processes varies too little: the interval is widened by Student's t over the normal's quantile
    and by the square root of P / (P - 1).

    Args:
        values: (rounds,) of each of P processes.
        resamples: number of bootstrap draws.
        seed: the same seed, the same draws.

    Raises:
        ValueError: no process.
    """
    if not values:
        raise ValueError("expected samples of one process or more")
    rng, counts = np.random.default_rng(seed), [len(rounds) for rounds in values]
    processes = rng.integers(0, len(values), (resamples, len(values)))
    drawn = np.full((*processes.shape, max(counts)), np.nan)
    for process, rounds in enumerate(values):
        chosen = processes == process
        drawn[chosen, : len(rounds)] = rng.choice(rounds, (int(chosen.sum()), len(rounds)))
    medians = np.nanmedian(drawn.reshape(resamples, -1), axis=1)
    value = np.median(np.concatenate(values))
    ends = np.percentile(medians, (2.5, 97.5))
    low, high = value + (ends - value) * _widening(len(values))
    return Interval(value=float(value), low=float(low), high=float(high))


def _paired(first: Sequence[Samples], second: Sequence[Samples]) -> list[tuple[Samples, Samples]]:
    """Median of each round's calls, (rounds,) of both in each process."""
    if not first or [len(a) for a in first] != [len(b) for b in second]:
        raise ValueError("expected samples of the same rounds of one process or more")
    return [
        (np.median(a, axis=1), np.median(b, axis=1)) for a, b in zip(first, second, strict=True)
    ]


def _widening(processes: int) -> float:
    """Factor on the bootstrap's interval; a single process says nothing about others."""
    if processes == 1:
        return 1.0
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise MissingDependency("scipy", "bench", "intervals over processes") from error
    quantile = stats.t.ppf(0.975, processes - 1) / stats.norm.ppf(0.975)
    return float(quantile * np.sqrt(processes / (processes - 1)))


def quantiles(samples_ms: npt.NDArray[np.float64], processes: Sequence[Samples] = ()) -> Quantiles:
    """Percentiles of milliseconds (n,), in any order; p99 from 100 of them on, p99.9 from 1,000.

    Args:
        samples_ms: of all processes.
        processes: (rounds,) of each process, for the interval of the median; none leaves it out.

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
        p50_interval=median_over_processes(processes) if len(processes) > 1 else None,
    )


def timer_ns(_clock: Callable[[], int] = perf_counter_ns) -> float:
    """Nanoseconds between two consecutive readings of the clock; median of many."""
    gaps = np.empty(_PAIRS)
    for i in range(_PAIRS):
        begun = _clock()
        gaps[i] = _clock() - begun
    return float(np.median(gaps))
