"""Conversion of stored values to 8-bit grey levels: look-up tables, windows, percentiles.

Source: DICOM PS3.3 C.11.1 (modality LUT) and C.11.2 (VOI LUT). pydicom has these transforms
too, but its windows are inverted for a negative rescale slope, and its 8-bit LUTs wrap around
beyond 256 entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.preparation.native import find_native_library

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

SPARSE = 16
"""Every 16th pixel of every 16th row distinguishes most images from a blank one."""
_EXACT = 2**24  # OpenCV counts in float32, which holds integers up to this
_ROWS = 64  # of a block whose look-up stays in the processor cache
_ROBUST = (0.5, 99.5)  # percentiles; dead pixels and markers must not set the window


def to_eight_bits(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """Map [low, high] to [0, 255] by rounding half to even, and clip what lies outside.

    Args:
        values: any real dtype and shape.
        low: the value that becomes 0.
        high: the value that becomes 255; where it is not above `low` the result is all 0.

    Returns:
        uint8 of the same shape.
    """
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def count_values(samples: npt.NDArray[Any]) -> Counts:
    """Count the samples, uint8 or uint16 (H, W), of each value: int64 (256,) or (65536,)."""
    rows = max(1, _EXACT // max(1, samples.shape[1]))
    blocks = (samples[start : start + rows] for start in range(0, len(samples), rows))
    return count_blocks(blocks, 2 ** (8 * samples.dtype.itemsize))


def count_blocks(blocks: Iterable[npt.NDArray[Any]], levels: int) -> Counts:
    """Count the values of an image given in blocks of rows, one block in memory at a time."""
    counts, pending = np.zeros(levels, np.int64), 0
    histogram = np.zeros((levels, 1), np.float32)
    for block in blocks:
        if pending + block.size > _EXACT:
            counts += histogram.ravel().astype(np.int64)
            histogram[:], pending = 0, 0
        pending += block.size
        whole = np.ascontiguousarray(block)
        cv2.calcHist([whole], [0], None, [levels], [0, levels], histogram, accumulate=True)
    return counts + histogram.ravel().astype(np.int64)


def apply_table(samples: npt.NDArray[Any], table: Pixels, out: Pixels | None = None) -> Pixels:
    """Look up each sample, uint8 or uint16 (H, W), in `table`, uint8 (256,) or (65536,).

    Raises:
        EngineError: as `find_native_library`.
    """
    pixels: Pixels = np.empty(samples.shape, np.uint8) if out is None else out
    library = find_native_library() if samples.dtype == np.uint16 else None
    if library is not None:
        library.look_up(np.require(samples, requirements=["C", "A"]), table, pixels)
        return pixels
    try:
        cv2.LUT(samples, table[None], pixels)
    except cv2.error:  # older versions have no 16-bit tables (opencv#26899)
        for start in range(0, len(samples), _ROWS):
            block = slice(start, start + _ROWS)
            np.take(table, samples[block], mode="clip", out=pixels[block])
    return pixels


def robust_window(values: Values, counts: Counts) -> tuple[float, float]:
    """Compute percentiles 0.5 and 99.5 of a histogram, or its range where the two coincide.

    Args:
        values: float64 (K,), in any order.
        counts: int64 (K,), number of pixels of each value; not all zero.

    Returns:
        Low and high: the smallest values with at least 0.5 % and 99.5 % of the pixels at or below.
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    below = np.cumsum(counts[order])
    places = np.searchsorted(below, np.array(_ROBUST) / 100 * below[-1])
    low, high = values[order[places]]
    if low == high:
        low, high = values[order[0]], values[order[-1]]
    return float(low), float(high)


def window(values: Values, center: float, width: float, function: str) -> Pixels | None:
    """Apply a VOI window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: after the modality transform.
        center: Window Center.
        width: Window Width.
        function: `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.

    Returns:
        uint8 of the same shape, or None for a width that is invalid for the function.
    """
    if function == "LINEAR" and width == 1:
        return to_eight_bits(values > center - 0.5, 0, 1)
    if function == "LINEAR" and width > 1:
        half = (width - 1) / 2
        return to_eight_bits(values, center - 0.5 - half, center - 0.5 + half)
    if function == "LINEAR_EXACT" and width > 0:
        return to_eight_bits(values, center - width / 2, center + width / 2)
    if function == "SIGMOID" and width > 0:
        # Beyond ±50 the exponential is 0 or infinite to double precision.
        slope = np.clip(-4 * (values - center) / width, -50, 50)
        return to_eight_bits(1 / (1 + np.exp(slope)), 0, 1)
    return None
