"""Retention: files leave the spool once they are settled and old, or when their time has ended."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from orthoedge.clinic.settings import RetentionSettings
from orthoedge.clinic.spool.spool import Spool

__all__ = ["Removed", "apply_retention"]

_DAY_S = 86400.0
_GIB = 2**30
# 2025-01-01: a machine without a clock starts in 1970, and what it received then would look 50
# years old as soon as the clock is set. Such images stay until they are settled.
_PLAUSIBLE = 1_735_689_600.0
_IS_DEAD = (
    "(state = 'dead' OR EXISTS"
    " (SELECT 1 FROM objects WHERE image = images.uid AND objects.state = 'dead'))"
)


@dataclass(frozen=True)
class Removed:
    """An image that was removed, with its objects."""

    uid: str
    was_settled: bool
    """False if its retention ended before all of its objects were sent and confirmed."""


def apply_retention(spool: Spool, settings: RetentionSettings) -> list[Removed]:
    """Remove the images whose time has come, with their objects, and old dead letters.

    Raises:
        OSError: the disk or the index fails.
    """
    now = time.time()
    rows = spool.index.read(
        "SELECT uid, settled_at IS NOT NULL FROM images WHERE"
        f" (settled_at < ? AND NOT {_IS_DEAD})"
        " OR (settled_at IS NULL AND received_at BETWEEN ? AND ?)"
        f" OR ({_IS_DEAD} AND settled_at BETWEEN ? AND ?)",
        now - settings.settled_days * _DAY_S,
        _PLAUSIBLE,
        now - settings.unsettled_days * _DAY_S,
        _PLAUSIBLE,
        now - settings.dead_days * _DAY_S,
    )
    removed = [Removed(str(uid), bool(settled)) for uid, settled in rows]
    for image in removed:
        _remove(spool, image.uid)
    for uid in _beyond(spool, settings.max_gb * _GIB):
        _remove(spool, uid)
        removed.append(Removed(uid, True))
    for reason in spool.dead.glob("*.txt"):
        with contextlib.suppress(FileNotFoundError):
            if reason.stat().st_mtime < now - settings.dead_days * _DAY_S:
                reason.with_suffix(".dcm").unlink(missing_ok=True)
                reason.unlink()
    return removed


def _beyond(spool: Spool, limit: float) -> list[str]:
    """The oldest settled images, without which the settled files are within `limit` bytes."""
    rows = spool.index.read(
        "SELECT uid, bytes + (SELECT TOTAL(bytes) FROM objects WHERE image = images.uid"
        " AND kind != 'original') FROM images"
        f" WHERE settled_at IS NOT NULL AND NOT {_IS_DEAD} ORDER BY settled_at DESC"
    )
    total, beyond = 0.0, []
    for uid, size in rows:
        total += float(size)  # type: ignore[arg-type]
        if total > limit:
            beyond.append(str(uid))
    return beyond


def _remove(spool: Spool, uid: str) -> None:
    """Remove the files, then the entry: a kill in between leaves an entry that is removed later."""
    files = spool.index.read(
        "SELECT file FROM images WHERE uid = ? UNION SELECT file FROM objects WHERE image = ?",
        uid,
        uid,
    )
    for (file,) in files:
        (spool.folder / str(file)).unlink(missing_ok=True)
    with spool.index.transaction() as connection:
        connection.execute("DELETE FROM images WHERE uid = ?", (uid,))
