"""What is in the spool: how many images and objects are in each state, and since when."""

from __future__ import annotations

import time

from orthoedge.clinic.spool.records import StateCount
from orthoedge.clinic.spool.spool import Spool

__all__ = ["count_states"]

_IMAGES = """
SELECT 'image', state, COUNT(*), TOTAL(bytes), MIN(received_at),
    (SELECT reason FROM images AS last WHERE last.state = images.state AND reason != ''
        ORDER BY received_at DESC LIMIT 1)
FROM images GROUP BY state
"""
_OBJECTS = """
SELECT destination, objects.state, COUNT(*), TOTAL(objects.bytes), MIN(received_at),
    COALESCE(
        (SELECT reason FROM objects AS last WHERE last.destination = objects.destination
            AND last.state = objects.state AND reason != '' ORDER BY number DESC LIMIT 1),
        (SELECT reason FROM destinations
            WHERE name = objects.destination AND objects.state = 'waiting'),
        (SELECT reason FROM destinations
            WHERE name = objects.destination || ' commitment' AND objects.state = 'sent'))
FROM objects JOIN images ON images.uid = objects.image GROUP BY destination, objects.state
"""
_ORDER = ("received", "answered", "waiting", "sent", "confirmed", "dead")


def count_states(spool: Spool) -> list[StateCount]:
    """One count for each state of images and, for each destination, of objects; none is 0.

    Raises:
        OSError: the index cannot be read.
    """
    now = time.time()
    counts = []
    for query in (_IMAGES, _OBJECTS):
        rows: list[tuple[object, ...]] = spool.index.read(query)
        for what, state, count, size, oldest, reason in sorted(
            rows, key=lambda row: (str(row[0]), _ORDER.index(str(row[1])))
        ):
            age = max(0.0, now - float(str(oldest)))
            counts.append(
                StateCount(
                    str(what),
                    str(state),
                    int(str(count)),
                    int(float(str(size))),
                    age,
                    str(reason or ""),
                )
            )
    return counts
