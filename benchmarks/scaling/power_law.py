"""From samples at several sizes to a curve: points, and the power that its upper half follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from orthoedge.benchmarks.metrics.bootstrap import interval
from orthoedge.benchmarks.schema import Interval, ScalingCurve
from orthoedge.benchmarks.timing.latency import Samples

_RESAMPLES = 1000
_FLAT = 0.02  # twice the size is then 1.4 % more, which nobody would call scaling
_Any = TypeVar("_Any")


def upper_half(points: Sequence[_Any]) -> Sequence[_Any]:
    """Those that the power is fitted to, two at least: at the small end a constant hides it."""
    return points[max(0, min(len(points) // 2, len(points) - 2)) :]


def curve(
    name: str,
    by: str,
    unit: Literal["ms", "MB"],
    samples: Mapping[float, Samples],
    explanation: str,
) -> ScalingCurve:
    """A curve through the medians.

    Args:
        name: of the curve.
        by: the quantity that varies.
        unit: of the samples.
        samples: (n,) at each size, sizes rising.
        explanation: the part that dominates, in a sentence.
    """
    points = tuple((float(size), float(np.median(found))) for size, found in samples.items())
    return ScalingCurve(
        name=name,
        by=by,
        unit=unit,
        points=points,
        exponent=exponent(samples),
        explanation=explanation,
    )


def exponent(samples: Mapping[float, Samples], seed: int = 0) -> Interval | None:
    """The k of a·x^k, least squares on both logarithms over the upper half, and its interval.

    Each draw takes new samples at each size and adds, for a curve that is no straight line, one of
    the fit's own residuals (Davison & Hinkley, Bootstrap Methods and their Application, 1997,
    chapter 6), which are widened by √(n / (n - 2)) as n points have left n - 2 of them free.

    Args:
        samples: (n,) at each size, sizes rising.
        seed: the same seed, the same draws.

    Returns:
        None where it does not grow as a power, as the interval holds 0 or all but 0; and where
        there is nothing to take an interval from: a median that is not above 0, one size, or two
        with one sample.
    """
    upper = upper_half(list(samples.items()))
    medians = np.array([np.median(found) for _, found in upper])
    spread = len(upper) > 2 or min(len(found) for _, found in upper) > 1
    if len(upper) < 2 or medians.min() <= 0 or not spread:
        return None
    x, y = np.log([size for size, _ in upper]), np.log(medians)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    value = float(y @ weights)
    left = y - y.mean() - value * (x - x.mean())
    if len(x) > 2:
        left = left * np.sqrt(len(x) / (len(x) - 2))
    rng = np.random.default_rng(seed)
    drawn = np.stack([_medians(found, rng) for _, found in upper], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample of memory may be 0
        slopes = (np.log(drawn) + rng.choice(left, drawn.shape)) @ weights
    found = interval(value, slopes[np.isfinite(slopes)])
    if found is None or found.low <= 0 <= found.high or abs(value) < _FLAT:
        return None
    return found


def _medians(samples: Samples, rng: np.random.Generator) -> Samples:
    """(R,) medians of resamples of (n,)."""
    drawn = rng.integers(0, len(samples), (_RESAMPLES, len(samples)))
    return np.asarray(np.median(samples[drawn], axis=1), np.float64)
