"""Resamples of labelled images, and the intervals that come from them.

A resample is a whole-number weight per image: how often it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Ints
from orthoedge.benchmarks.schema import Interval

Array = npt.NDArray[np.float64]

RESAMPLES = 2000  # the ends of a 95 % interval are then its 50th values from either side
_CHUNK = 200  # resamples at a time: 200 × 10,000 images are 16 MB
_TRIES = 50  # chunks; a set that needs more has next to no groups of some class


def resamples(groups: Sequence[str], truth: Ints, seed: int) -> Iterator[Array]:
    """Draw whole groups with replacement (cluster bootstrap; Efron & Tibshirani 1993, chapter 8).

    Images of a patient are alike, so drawing single images would make intervals too narrow. A draw
    in which a class is missing is drawn again, as no score of that class has a meaning in it.

    Args:
        groups: of each image.
        truth: (N,) class indices.
        seed: the same seed, the same draws.

    Yields:
        (r, N) counts; `RESAMPLES` rows in all.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    group = group.ravel()
    has = np.zeros((len(names), int(truth.max()) + 1))
    has[group, truth] = 1
    has = has[:, has.any(0)]
    even = np.full(len(names), 1 / len(names))
    rng = np.random.default_rng(seed)
    for start in range(0, RESAMPLES, _CHUNK):
        count = min(_CHUNK, RESAMPLES - start)
        accepted = np.empty((0, len(names)))
        for _ in range(_TRIES):
            drawn = rng.multinomial(len(names), even, size=_CHUNK)
            accepted = np.vstack([accepted, drawn[((drawn @ has) > 0).all(1)]])
            if len(accepted) >= count:
                break
        else:  # many classes of a group or two: nearly every draw misses one
            full = np.ones((count - len(accepted), len(names)))
            accepted = np.vstack([accepted, full])
        yield accepted[:count][:, group]


def interval(value: float, drawn: Array) -> Interval | None:
    """The percentile interval of resampled values (R,); None where the value has no meaning."""
    known = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(known) == 0:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(value=float(value), low=float(low), high=float(high))


def mean_intervals(
    values: Array, groups: Sequence[str], truth: Ints, seed: int
) -> tuple[Interval | None, ...]:
    """The means of M measures of N images, (M, N) with NaN where unknown, over `resamples`."""
    drawn = [mean_of_known(values, weights) for weights in resamples(groups, truth, seed)]
    points = mean_of_known(values, np.ones((1, values.shape[1])))[0]
    spread = np.concatenate(drawn)
    return tuple(interval(float(point), spread[:, k]) for k, point in enumerate(points))


def mean_of_known(values: Array, weights: Array) -> Array:
    """Means (R, M) of values (M, N), NaN where unknown, under weightings (R, N)."""
    known = ~np.isnan(values)
    return ratio(weights @ np.where(known, values, 0).T, weights @ known.T.astype(np.float64))


def ratio(part: Array, whole: Array) -> Array:
    """Quotient, NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
