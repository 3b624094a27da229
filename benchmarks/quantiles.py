"""Percentiles of a sample, none of them beyond what the sample can say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.records import Quantiles


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
