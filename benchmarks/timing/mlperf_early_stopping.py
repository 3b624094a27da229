"""MLPerf's early stopping: a percentile that few queries cannot flatter.

MLPerf Inference Rules (github.com/mlcommons/inference_policies, July 2026), appendix "Early
Stopping Criterion": confidence 99 %, tolerance 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_RISK = 0.01


def discardable(queries: int, share: float) -> int:
    """Most queries t that may be too slow while a share of them is surely in time.

    With a true share just below `share`, as few as t slow ones of `queries` turn up with a
    probability of 1 % at most: F(t; queries, 1 - share) <= 0.01 for the binomial distribution.

    Args:
        queries: how many were sent.
        share: of them that is to be in time, above 0.5 and below 1.

    Returns:
        t; -1 where even none too slow would prove nothing.
    """
    # Logarithms of the terms: the first ones underflow where there are many queries.
    slow = np.arange(1, int(queries * (1 - share)) + 2)
    odds = np.log((queries - slow + 1) / slow) + np.log((1 - share) / share)
    terms = np.concatenate([[0.0], np.cumsum(odds)]) + queries * np.log(share)
    below = np.cumsum(np.exp(terms))
    return int(np.searchsorted(below, _RISK, side="right")) - 1


def least_queries(share: float) -> int:
    """Fewest queries of which one may be too slow: those that an estimate needs."""
    queries = 2
    while discardable(queries, share) < 1:
        queries += 1
    return queries


def estimate(latencies_ms: npt.NDArray[np.float64], share: float) -> float | None:
    """The percentile that MLPerf quotes, ms; None where there are too few queries for one.

    It is the highest latency once the t - 1 highest are discarded, so it lies a little above the
    plain percentile, and the less so the more queries there are.
    """
    slow = discardable(len(latencies_ms), share)
    return None if slow < 1 else float(np.sort(latencies_ms)[-slow])
