"""From samples at several sizes to a curve: its points, and the power law of its upper half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from orthoedge.benchmarks.schema import Interval, ScalingCurve
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.runtime.errors import MissingDependency

_FLAT = 0.02  # doubling the size then adds 1.4 %
_Point = TypeVar("_Point")


def upper_half(points: Sequence[_Point]) -> Sequence[_Point]:
    """The points of the fit, at least two: at small sizes a constant hides the power law."""
    return points[max(0, min(len(points) // 2, len(points) - 2)) :]


def ends(samples: Mapping[float, Samples]) -> tuple[float, float, float, float]:
    """Size and median at the smallest size, then at the largest."""
    points = [(size, float(np.median(times))) for size, times in samples.items()]
    return *points[0], *points[-1]


def curve(
    name: str,
    by: str,
    unit: Literal["ms", "MB"],
    samples: Mapping[float, Samples],
    explanation: str,
) -> ScalingCurve:
    """A curve through the medians of samples (n,) at each size, sizes rising."""
    points = tuple((float(size), float(np.median(times))) for size, times in samples.items())
    return ScalingCurve(
        name=name,
        by=by,
        unit=unit,
        points=points,
        exponent=exponent(samples),
        explanation=explanation,
    )


def exponent(samples: Mapping[float, Samples]) -> Interval | None:
    """The k of a·x^k by least squares on both logarithms over the upper half, with its t interval.

    Args:
        samples: (n,) at each size, sizes rising.

    Returns:
        None where it does not grow as a power, because the interval contains 0 or k is close to it;
        and where there is no interval: a median that is not above 0, one size, or two samples.

    Raises:
        MissingDependency: scipy is not installed.
    """
    half = upper_half(list(samples.items()))
    upper, medians = [(n, times[times > 0]) for n, times in half], [np.median(t) for _, t in half]
    count = sum(len(times) for _, times in upper)
    if len(upper) < 2 or min(medians) <= 0 or count < 3:
        return None
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise MissingDependency("scipy", "bench", "the exponents of curves") from error
    sizes = np.concatenate([np.full(len(times), size) for size, times in upper])
    fit = stats.linregress(np.log(sizes), np.log(np.concatenate([times for _, times in upper])))
    margin = float(stats.t.ppf(0.975, count - 2) * fit.stderr)
    slope = float(fit.slope)
    if abs(slope) <= max(margin, _FLAT):
        return None
    return Interval(value=slope, low=slope - margin, high=slope + margin)
