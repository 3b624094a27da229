"""The watcher's process: takes each file of a folder once it has stopped growing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from orthoedge.clinic.log import Log
from orthoedge.clinic.operations.start import started
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.watch.changes import Changes, list_files, observe, state_of
from orthoedge.clinic.watch.intake import FolderIntake
from orthoedge.clinic.watch.journal import FileState, Journal

__all__ = ["Watcher", "watch_folder"]

_STEP_S = 0.25
_SETTLED_S = 2.0
_EMPTY_S = 60.0  # an empty file is one that is about to be written, for so long
_FAILED_S = 10.0
_UNREADABLE_S = 60.0
_BATCH = 16  # files in one step, after which the room in the spool and a request to end are checked


def watch_folder(settings: NodeSettings, folder: Path, log: Log, stop: threading.Event) -> None:
    """Take the files of `folder` until `stop` is set.

    Raises:
        DataError: at the start: the index of the spool is damaged.
        MissingDependency: watchdog or pydicom is not installed.
        OSError: the spool cannot be used.
    """
    spool = Spool(settings.folder, settings.queue)
    recovered = spool.recover()
    journal = Journal(settings.folder)
    with observe(folder, log) as changes:
        log("watches", recovered=recovered)
        watcher = Watcher(folder, spool, journal, changes, log)
        with started():
            while not stop.is_set():
                stop.wait(watcher.step(time.monotonic()))
    log("ended")


class Watcher:
    """Decides when a file is taken.

    Args:
        folder: the watched folder.
        spool: takes the images.
        journal: what was taken.
        changes: of the folder.
        log: takes a line for each file.
    """

    def __init__(
        self, folder: Path, spool: Spool, journal: Journal, changes: Changes, log: Log
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._changes = changes
        self._log = log
        self._intake = FolderIntake(folder, spool, journal, log)
        self._done = journal.done()
        self._waiting: dict[str, tuple[FileState, float]] = {}
        self._try_at: dict[str, float] = {}
        self._look_at = 0.0
        self._complaint = ""
        self._has_failed = False

    def step(self, now: float) -> float:
        """Look for files, and take those that have stopped growing.

        Args:
            now: seconds of a clock that never goes back.

        Returns:
            Seconds until the next step.

        Raises:
            OSError: the spool's disk or index fails.
        """
        try:
            self._look(now)
        except OSError as error:  # not mounted at the moment; what was taken stays known
            self._complain(f"cannot read the folder: {error.strerror or error}")
            self._changes.note_unknown()
            return _FAILED_S
        if refusal := self._spool.refusal():
            self._complain(refusal)
            return _FAILED_S
        self._complaint = ""
        left = _BATCH
        for name in list(self._waiting):
            if self._try_at.get(name, 0.0) <= now:
                left -= self._take_if_settled(name, now)
            if not left:
                return 0.0
        return _STEP_S

    def _look(self, now: float) -> None:
        names = self._changes.take()
        if names is None or now >= self._look_at:
            names = set(list_files(self._folder, self._log))
            self._look_at = now + self._changes.look_again_s
        for name in sorted(names - self._waiting.keys()):
            state = state_of(self._folder / name)
            if state is not None and self._done.get(name) != state:
                self._waiting[name] = state, now

    def _take_if_settled(self, name: str, now: float) -> bool:
        """Take a file if it has stopped growing; return whether that was tried."""
        state = state_of(self._folder / name)
        before, since = self._waiting[name]
        if state is None or self._done.get(name) == state:
            self._forget(name)
        elif state != before:
            self._waiting[name] = state, now
        elif now - since >= (_SETTLED_S if state.size else _EMPTY_S):
            self._take(name, state, now)
            return True
        return False

    def _take(self, name: str, state: FileState, now: float) -> None:
        try:
            is_taken = self._intake.take(name, state)
        except OSError as error:
            if error.filename is None or Path(str(error.filename)) != self._folder / name:
                if not self._has_failed:  # one line until a file can be copied again
                    reason = error.strerror or str(error)
                    self._log("cannot copy a file to the spool, tried again", reason=reason)
                self._has_failed = True
                self._try_at[name] = now + _FAILED_S
                return
            if name not in self._try_at:  # one line, not one a minute
                self._log("cannot read a file, tried again", reason=error.strerror or str(error))
            self._try_at[name] = now + _UNREADABLE_S
            return
        self._has_failed = False
        if not is_taken:
            self._waiting[name] = state, now
            return
        self._done[name] = state
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._waiting.pop(name, None)
        self._try_at.pop(name, None)

    def _complain(self, reason: str) -> None:
        """Write the line once, not every ten seconds."""
        if reason != self._complaint:
            self._log("takes no files at the moment", reason=reason)
            self._complaint = reason
