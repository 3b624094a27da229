"""Where the program looked most, as a part of the picture."""

from __future__ import annotations

import numpy as np

from orthoedge.clinic.words.record import FindingRecord
from orthoedge.runtime.overlay.colormap import map_over_field

__all__ = ["looked_at"]

_PARTS = (
    ("upper_left", "upper", "upper_right"),
    ("left", "middle", "right"),
    ("lower_left", "lower", "lower_right"),
)


def looked_at(record: FindingRecord, columns: int = 0, rows: int = 0) -> str:
    """Return in which ninth of the picture the map has its peak.

    Args:
        record: the finding.
        columns: of the picture, in pixels; 0 takes the exposed field for the picture.
        rows: likewise.

    Returns:
        The end of the message id `where.looked.…`; `nowhere` where the map is 0 inside the picture.
    """
    x0, y0, x1, y1 = record.placement.field
    saliency = np.array(record.saliency_map, np.float32)
    heat = map_over_field(saliency, record.placement, record.input_size)
    if heat.max() <= 0:
        return "nowhere"
    peak = np.argwhere(heat == heat.max()).mean(axis=0) / heat.shape  # row and column, 0 to 1
    row, column = y0 + peak[0] * (y1 - y0), x0 + peak[1] * (x1 - x0)
    left, top, right, bottom = (0, 0, columns, rows) if columns and rows else (x0, y0, x1, y1)
    across = min(max(int(3 * (column - left) / (right - left)), 0), 2)
    down = min(max(int(3 * (row - top) / (bottom - top)), 0), 2)
    return _PARTS[down][across]
