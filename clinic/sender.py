"""The sender's process: sends objects on, asks for storage commitment, and applies retention.

Each destination has a thread of its own, so that one that stalls holds up none of the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.log import Log, kind_and_place
from orthoedge.clinic.sending import (
    DestinationError,
    Reference,
    new_transaction_uid,
    request_commitment,
    send,
)
from orthoedge.clinic.settings import NodeSettings, SendingSettings
from orthoedge.clinic.spool.outbox import Outbox
from orthoedge.clinic.spool.records import SpooledObject
from orthoedge.clinic.spool.retention import apply_retention
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.errors import OrthoEdgeError

__all__ = ["DestinationSender", "send_objects"]

_POLL_S = 0.5
_FAILED_S = 10.0  # after a full disk, or an error that no destination caused
_RETENTION_S = 600.0


def send_objects(settings: NodeSettings, log: Log, stop: threading.Event) -> None:
    """Send to all destinations until `stop` is set; an association under way is finished.

    Raises:
        DataError: the index is damaged, or of another version.
        OSError: the spool cannot be used.
    """
    spool = Spool(settings.folder, settings.queue)
    threads = []
    for name, destination in settings.destinations.items():
        sender = DestinationSender(name, destination, settings, spool, log)
        threads.append(threading.Thread(target=_repeat, args=(sender.step, log, stop, name)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    _repeat(lambda: _tidy(settings, spool, log, stop), log, stop, "retention")
    for thread in threads:
        thread.join()
    log("ended")


def _repeat(step: Callable[[], bool], log: Log, stop: threading.Event, name: str) -> None:
    """Call `step` until `stop` is set; wait where nothing was to do, longer after an error."""
    while not stop.is_set():
        try:
            is_busy = step()
        except (OrthoEdgeError, OSError) as error:
            log("failed", destination=name, reason=str(error))
            stop.wait(_FAILED_S)
        except Exception as error:  # a defect in one destination's way must not stop the others
            log("failed unexpectedly", destination=name, reason=kind_and_place(error))
            stop.wait(_FAILED_S)
        else:
            if not is_busy:
                stop.wait(_POLL_S)


def _tidy(settings: NodeSettings, spool: Spool, log: Log, stop: threading.Event) -> bool:
    for removed in apply_retention(spool, settings.retention):
        event = "removed after its time" if removed.was_settled else "removed although not sent"
        log(event, uid=removed.uid)
    stop.wait(_RETENTION_S)
    return False


class DestinationSender:
    """Sends what waits for one destination.

    Args:
        name: of the destination.
        destination: its settings.
        settings: of the node.
        spool: where the objects are.
        log: takes a line for each object.
    """

    def __init__(
        self, name: str, destination: Destination, settings: NodeSettings, spool: Spool, log: Log
    ) -> None:
        self._name = name
        self._destination = destination
        self._ae_title = settings.ae_title
        self._settings: SendingSettings = settings.sending
        self._spool = spool
        self._outbox = Outbox(spool, name, settings.sending)
        self._log = log

    def step(self) -> bool:
        """Send one batch, and ask for commitment of one; return whether there was anything to do.

        Raises:
            OrthoEdgeError: the settings of the destination cannot be used.
            OSError: the spool cannot be used.
        """
        batch = self._outbox.due()
        if batch:
            self._send(batch)
        return bool(batch) | (self._destination.commitment and self._ask())

    def _send(self, batch: list[SpooledObject]) -> None:
        started = time.monotonic()
        files = [self._spool.folder / item.file for item in batch]
        present = []
        for item, file in zip(batch, files, strict=True):
            if file.is_file():
                present.append((item, file))
            else:
                self._refuse(item, "its file is missing from the spool")
        if not present:
            return
        outcomes = send(self._destination, [file for _, file in present], self._ae_title)
        by_file = {outcome.file: outcome for outcome in outcomes}
        stored, failed = [], []
        for item, file in present:
            outcome = by_file[Path(file)]
            if outcome.state == "stored":
                stored.append(item)
            elif outcome.state == "refused":
                self._refuse(item, outcome.reason)
            else:
                failed.append((item, outcome.reason))
        if stored:
            self._outbox.stored(stored)
            self._log(
                "objects sent",
                destination=self._name,
                count=len(stored),
                seconds=round(time.monotonic() - started, 3),
            )
        if len(failed) < len(present):
            self._outbox.reached()
        self._put_off(failed, was_reached=len(failed) < len(present))

    def _put_off(self, failed: list[tuple[SpooledObject, str]], was_reached: bool) -> None:
        """Retry single objects later; leave the destination alone where it took none at all.

        Then only the first was tried for certain: it goes to the end of the queue, so that an
        object at which a destination ends the association each time does not hold up the others.
        """
        if not failed:
            return
        if was_reached:
            for item, reason in failed:
                delay = self._outbox.retry(item, reason)
                self._log_retry(reason, delay, 1)
            return
        first, reason = failed[0]
        self._outbox.retry(first, reason)
        self._log_retry(reason, self._outbox.back_off(reason), len(failed))

    def _log_retry(self, reason: str, delay: float, count: int) -> None:
        self._log(
            "not sent, will be tried again",
            destination=self._name,
            count=count,
            in_s=round(delay, 1),
            reason=reason,
        )

    def _refuse(self, item: SpooledObject, reason: str) -> None:
        self._outbox.refused(item, reason)
        self._log(
            "refused: put into the dead-letter folder",
            destination=self._name,
            kind=item.kind,
            uid=item.uid,
            reason=reason,
        )

    def _ask(self) -> bool:
        """Ask for storage commitment of what was sent."""
        items = self._outbox.uncommitted()
        if not items:
            return False
        references = [Reference(item.sop_class, item.uid) for item in items]
        transaction = new_transaction_uid()
        self._outbox.ask(items, transaction)
        try:
            request_commitment(
                self._destination, references, self._ae_title, transaction_uid=transaction
            )
        except DestinationError as error:
            delay = self._outbox.ask_later(items, str(error))
            self._log(
                "commitment not requested, will be tried again",
                destination=self._name,
                in_s=round(delay, 1),
                reason=str(error),
            )
            return False
        self._outbox.asked()
        self._log("commitment requested", destination=self._name, count=len(items))
        return True
