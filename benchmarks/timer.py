"""What the clock itself costs."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

_PAIRS = 10_001


def timer_ns(clock: Callable[[], int] = perf_counter_ns) -> float:
    """Nanoseconds between two readings of the clock with nothing in between; median of many."""
    gaps = np.empty(_PAIRS)
    for i in range(_PAIRS):
        begun = clock()
        gaps[i] = clock() - begun
    return float(np.median(gaps))
