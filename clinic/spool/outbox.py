"""What is to be sent to each destination: due objects, back-off, storage commitment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence

from orthoedge.clinic.settings import SendingSettings
from orthoedge.clinic.spool.records import Report, SpooledObject
from orthoedge.clinic.spool.spool import Spool, settle

__all__ = ["Outbox", "apply_reports", "retry_delay"]

_FIELDS = (
    "number, image, destination, kind, objects.uid, objects.sop_class, objects.file, commitment,"
    " objects.attempts, calling_ae"
)


class Outbox:
    """Objects of one destination.

    Args:
        spool: where they are.
        destination: its name.
        settings: of retries.
    """

    def __init__(self, spool: Spool, destination: str, settings: SendingSettings) -> None:
        self._spool = spool
        self._destination = destination
        self._settings = settings
        # No name of the settings has a space, so that the row is of no other destination.
        self._commitment = f"{destination} commitment"

    def due(self) -> list[SpooledObject]:
        """Objects to be sent now, at most a batch; empty while the destination is left alone."""
        if self._is_left_alone(self._destination):
            return []
        rows = self._spool.index.read(
            f"SELECT {_FIELDS} FROM objects JOIN images ON images.uid = image"
            " WHERE destination = ? AND objects.state = 'waiting'"
            " AND NOT (next_try > ? AND next_try <= ?)"
            " ORDER BY objects.attempts, number LIMIT ?",
            self._destination,
            *self._to_come(),
            self._settings.batch,
        )
        return [SpooledObject(*row) for row in rows]  # type: ignore[arg-type]

    def stored(self, sent: Iterable[SpooledObject]) -> None:
        """The destination has stored these objects."""
        self._set_state([(item, "") for item in sent], "sent")

    def refused(self, item: SpooledObject, reason: str) -> None:
        """The destination will not take this object, however often it is sent."""
        reason = f"{self._destination} refused the {item.kind}: {reason}"
        name = f"{self._destination}.{item.uid}"
        self._spool.dead_letter(item.file, name, reason)
        self._set_state([(item, reason)], "dead")

    def retry(self, item: SpooledObject, reason: str) -> float:
        """Send this object later; return in how many seconds."""
        delay = self._delay(item.attempts)
        with self._spool.index.transaction() as connection:
            connection.execute(
                "UPDATE objects SET attempts = attempts + 1, next_try = ?, reason = ?"
                " WHERE number = ?",
                (time.time() + delay, reason, item.number),
            )
        return delay

    def back_off(self, reason: str) -> float:
        """Leave the whole destination alone for a while; return for how many seconds."""
        return self._back_off(self._destination, reason)

    def reached(self) -> None:
        """The destination answered: end its back-off."""
        self._forget_back_off(self._destination)

    def _is_left_alone(self, name: str) -> bool:
        waits = "SELECT 1 FROM destinations WHERE name = ? AND next_try > ? AND next_try <= ?"
        return bool(self._spool.index.read(waits, name, *self._to_come()))

    def _to_come(self) -> tuple[float, float]:
        """From now to the latest time that a back-off may end.

        One further ahead was written before the clock was set back.
        """
        now = time.time()
        return now, now + 1.5 * self._settings.longest_retry_s

    def _back_off(self, name: str, reason: str) -> float:
        with self._spool.index.transaction() as connection:
            row = connection.execute(
                "SELECT failures FROM destinations WHERE name = ?", (name,)
            ).fetchone()
            failures = row[0] if row else 0
            delay = self._delay(failures)
            connection.execute(
                "INSERT OR REPLACE INTO destinations VALUES (?, ?, ?, ?)",
                (name, failures + 1, time.time() + delay, reason),
            )
        return delay

    def _forget_back_off(self, name: str) -> None:
        with self._spool.index.transaction() as connection:
            connection.execute("DELETE FROM destinations WHERE name = ?", (name,))

    def uncommitted(self) -> list[SpooledObject]:
        """Objects that are sent and whose commitment is to be requested now, at most 100."""
        if self._is_left_alone(self._commitment):
            return []
        now, longest = time.time(), self._settings.commitment_s
        rows = self._spool.index.read(
            f"SELECT {_FIELDS} FROM objects JOIN images ON images.uid = image"
            " WHERE destination = ? AND objects.state = 'sent' AND commitment"
            " AND (ask_at <= ? OR ask_at > ?) ORDER BY number LIMIT 100",
            self._destination,
            now,
            now + 1.5 * longest,
        )
        return [SpooledObject(*row) for row in rows]  # type: ignore[arg-type]

    def ask(self, items: Sequence[SpooledObject], transaction_uid: str) -> None:
        """Write down the transaction before it is requested, since the report may come at once."""
        again = time.time() + self._settings.commitment_s
        self._write_transaction(items, transaction_uid, again)

    def asked(self) -> None:
        """The destination took the request: end the back-off of requests."""
        self._forget_back_off(self._commitment)

    def ask_later(self, items: Sequence[SpooledObject], reason: str) -> float:
        """The request failed: forget its transaction; return in how many seconds to ask again."""
        self._write_transaction(items, "", 0.0)
        return self._back_off(self._commitment, reason)

    def _write_transaction(
        self, items: Sequence[SpooledObject], transaction_uid: str, ask_at: float
    ) -> None:
        with self._spool.index.transaction() as connection:
            connection.executemany(
                "UPDATE objects SET transaction_uid = ?, ask_at = ? WHERE number = ?",
                [(transaction_uid, ask_at, item.number) for item in items],
            )

    def _set_state(self, items: list[tuple[SpooledObject, str]], state: str) -> None:
        with self._spool.index.transaction() as connection:
            for item, reason in items:
                connection.execute(
                    "UPDATE objects SET state = ?, reason = ? WHERE number = ?",
                    (state, reason, item.number),
                )
                settle(connection, item.image)

    def _delay(self, failures: int) -> float:
        return retry_delay(self._settings, failures)


def retry_delay(settings: SendingSettings, failures: int) -> float:
    """Seconds: doubled with each failure, with a random part, so that nodes do not march in step.

    Args:
        settings: the first and the longest delay.
        failures: before this one.
    """
    delay = min(settings.retry_s * 2.0 ** min(failures, 30), settings.longest_retry_s)
    return delay * random.uniform(1, 1.25)


def apply_reports(
    spool: Spool, reports: Iterable[Report], settings: SendingSettings
) -> list[Report]:
    """Apply what destinations reported on storage commitments.

    Returns:
        The reports that belong to a transaction of this node; others have no effect.

    Raises:
        OSError: the disk or the index fails; then no report is applied.
    """
    applied = []
    with spool.index.transaction() as connection:
        for report in reports:
            row = connection.execute(
                "SELECT number, image, destination, attempts FROM objects"
                " WHERE transaction_uid = ? AND uid = ? AND state = 'sent'",
                (report.transaction_uid, report.uid),
            ).fetchone()
            if row is None or not report.transaction_uid:
                continue
            number, image, destination, attempts = row
            if report.failure:
                reason = f"{destination} did not commit itself: {report.failure}"
                connection.execute(
                    "UPDATE objects SET state = 'waiting', reason = ?, next_try = ?, ask_at = 0,"
                    " transaction_uid = '', attempts = attempts + 1 WHERE number = ?",
                    (reason, time.time() + retry_delay(settings, attempts), number),
                )
            else:
                connection.execute(
                    "UPDATE objects SET state = 'confirmed', reason = '', transaction_uid = ''"
                    " WHERE number = ?",
                    (number,),
                )
            settle(connection, image)
            applied.append(report)
    return applied
