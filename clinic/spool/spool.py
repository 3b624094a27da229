"""The spool of a node: received images, their answers, and the folder of dead letters.

    incoming/   objects that are being received; emptied at every start
    images/     UID_AE.dcm, as they came, AE being the calling AE title in hex
    objects/    UID.dcm, results that are to be sent
    dead/       UID.dcm and UID.txt with the reason, of what has no answer or was refused
    index.sqlite   the state of each; `index.py` says why

received -> answered -> sent -> confirmed, or dead. One SOP instance has one entry, however often it
is sent.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from orthoedge.clinic.settings import QueueSettings
from orthoedge.clinic.spool.group import Group
from orthoedge.clinic.spool.index import Index
from orthoedge.clinic.spool.records import NewImage, NewObject, SpooledImage
from orthoedge.runtime.atomic_files import sync_folder, write_atomic
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.settings import plain

__all__ = ["Spool", "check_uid", "settle"]

_UID = re.compile(r"[0-9.]{1,64}")
_IMAGE_FILE = re.compile(r"([0-9.]{1,64})_((?:[0-9a-f]{2}){0,16})\.dcm")
_GIB, _MIB = 2**30, 2**20
_CHECKED_S = 1.0  # how old the count of the queue may be
_NewEntry = tuple[NewImage, str, int]
"""An image, the name of its file in `images/`, and its size in bytes."""


def check_uid(uid: str) -> str:
    """Return `uid` if it may name a file: digits and dots, at most 64 (PS3.5 9.1).

    Raises:
        InputError: it is anything else.
    """
    if not _UID.fullmatch(uid) or not uid.strip("."):
        raise InputError("not a UID: expected digits and dots, at most 64 in all")
    return uid


class Spool:
    """The spool in one folder; threads may share it, and processes open their own.

    Args:
        folder: made if it is missing; readable by its owner alone, since images name patients.
        limits: when new images are refused.

    Raises:
        DataError: the index is damaged, or of another version.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, limits: QueueSettings | None = None) -> None:
        self.folder = folder
        self.incoming, self.images, self.objects, self.dead = (
            folder / name for name in ("incoming", "images", "objects", "dead")
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (self.incoming, self.images, self.objects, self.dead):
            part.mkdir(mode=0o700, exist_ok=True)
        self.index = Index(folder)
        self._limits = limits or QueueSettings()
        self._refusal = ""
        self._checked_at = -_CHECKED_S
        self._enter: Group[_NewEntry, bool] = Group(self._insert)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def refusal(self) -> str:
        """Why no new image is taken now, at most 64 characters; empty if one is.

        Raises:
            OSError: the disk or the index fails.
        """
        if time.monotonic() - self._checked_at < _CHECKED_S:
            return self._refusal
        limits = self._limits
        ((unsettled,),) = self.index.read("SELECT COUNT(*) FROM images WHERE settled_at IS NULL")
        ((size,),) = self.index.read(
            "SELECT (SELECT TOTAL(bytes) FROM images)"
            " + (SELECT TOTAL(bytes) FROM objects WHERE kind != 'original')"
        )
        free = shutil.disk_usage(self.folder).free / _MIB
        refusal = ""
        if _number(unsettled) >= limits.max_images:
            refusal = f"queue full: {plain(_number(unsettled))} images wait"
        elif _number(size) >= limits.max_gb * _GIB:
            refusal = f"queue full: {plain(limits.max_gb)} GiB of files"
        elif free < limits.min_free_mb:
            refusal = f"disk full: {plain(free, 3)} MiB free"
        self._refusal, self._checked_at = refusal, time.monotonic()
        return refusal

    def add_image(self, source: Path, image: NewImage) -> bool:
        """Take a file that is complete and synced; afterwards it survives a power cut.

        Args:
            source: on the same file system; left where it is.
            image: its UIDs and sender.

        Returns:
            False if the spool has that SOP instance already; the file is then not taken.

        Raises:
            InputError: the UID must not name a file.
            OSError: the disk is full or fails; nothing that the index names is lost.
        """
        name = f"{check_uid(image.uid)}_{image.calling_ae.encode('ascii', 'replace').hex()}.dcm"
        if self._has(image.uid):
            return False
        file = self.images / name
        # A file without an entry is left from a kill between the two; it is complete and stays.
        with contextlib.suppress(FileExistsError):
            os.link(source, file)
        if self._enter((image, name, file.stat().st_size)):
            return True
        self._drop_duplicate(image.uid, file)
        return False

    def _has(self, uid: str) -> bool:
        return bool(self.index.read("SELECT 1 FROM images WHERE uid = ?", uid))

    def _insert(self, entries: Sequence[_NewEntry]) -> list[bool]:
        """Enter images whose files are linked and synced; False for each that is there already."""
        sync_folder(self.images)
        are_new = []
        with self.index.transaction() as connection:
            for image, name, size in entries:
                inserted = connection.execute(
                    "INSERT OR IGNORE INTO images"
                    " (uid, file, bytes, sop_class, calling_ae, peer, received_at, state)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, 'received')",
                    (
                        image.uid,
                        f"images/{name}",
                        size,
                        image.sop_class,
                        image.calling_ae,
                        image.peer,
                        time.time(),
                    ),
                )
                are_new.append(inserted.rowcount == 1)
        return are_new

    def _drop_duplicate(self, uid: str, file: Path) -> None:
        """Remove the second file of a SOP instance that two senders sent at the same time."""
        ((kept,),) = self.index.read("SELECT file FROM images WHERE uid = ?", uid)
        if kept != f"images/{file.name}":
            file.unlink(missing_ok=True)

    def recover(self) -> int:
        """Empty `incoming/` and enter images that a kill left without an entry.

        Called once by the receiver, before it listens.

        Returns:
            How many images were entered.
        """
        for file in self.incoming.iterdir():
            file.unlink(missing_ok=True)
        entered = 0
        for file in sorted(self.images.iterdir()):
            if not (match := _IMAGE_FILE.fullmatch(file.name)):
                continue
            if self._has(match[1]):
                self._drop_duplicate(match[1], file)
                continue
            calling_ae = bytes.fromhex(match[2]).decode("ascii", "replace")
            image = NewImage(match[1], "", calling_ae, "")
            entered += self._enter((image, file.name, file.stat().st_size))
        return entered

    def next_image(self) -> SpooledImage | None:
        """Begin the answer of the oldest image with the fewest attempts; None if none waits.

        The attempt is on the disk before this returns, so that an image that ends the process is
        known by its count.
        """
        if not self.index.read("SELECT 1 FROM images WHERE state = 'received' LIMIT 1"):
            return None
        with self.index.transaction() as connection:
            row = connection.execute(
                "SELECT uid, sop_class, calling_ae, file, attempts + 1, received_at, reason"
                " FROM images WHERE state = 'received' ORDER BY attempts, received_at LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE images SET attempts = attempts + 1 WHERE uid = ?", row[:1])
        return SpooledImage(*row)

    def note_failure(self, image: SpooledImage, reason: str) -> None:
        """Write down why an attempt failed, in one line without patient data."""
        with self.index.transaction() as connection:
            connection.execute(
                "UPDATE images SET reason = ? WHERE uid = ? AND state = 'received'",
                (reason, image.uid),
            )

    def give_back(self, image: SpooledImage) -> None:
        """Take back the attempt that `next_image` counted: the failure was not the image's."""
        with self.index.transaction() as connection:
            connection.execute(
                "UPDATE images SET attempts = MAX(0, attempts - 1)"
                " WHERE uid = ? AND state = 'received'",
                (image.uid,),
            )

    def answer(self, image: SpooledImage, decision: str, objects: Iterable[NewObject]) -> None:
        """Enter the objects of an image, which is answered by this; once it is, do nothing.

        Args:
            image: from `next_image`.
            decision: of its finding; empty where it was filed without one.
            objects: their files are complete and synced, but for those that could not be made.
        """
        self._end(image.uid, "answered", decision, "", objects)

    def bury(self, image: SpooledImage, reason: str, objects: Iterable[NewObject] = ()) -> None:
        """Put an image that has no answer into the dead-letter folder.

        Args:
            image: from `next_image`.
            reason: one line without patient data.
            objects: the original, where it is forwarded all the same.
        """
        self.dead_letter(image.file, image.uid, reason)
        self._end(image.uid, "dead", "", reason, objects)

    def dead_letter(self, file: str, name: str, reason: str) -> None:
        """Link a file of the spool into `dead/`, and write the reason next to it.

        The reason comes first: retention finds dead letters by it.
        """
        write_atomic(self.dead / f"{name}.txt", f"{reason}\n".encode())
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(self.folder / file, self.dead / f"{name}.dcm")

    def remove_unnamed_results(self) -> int:
        """Remove files of `objects/` that the index does not name, and return how many.

        They are left of answers that failed or were cut off. Called by the worker alone, while it
        makes none.
        """
        named = {
            str(file)
            for (file,) in self.index.read("SELECT file FROM objects WHERE kind != 'original'")
        }
        unnamed = [
            file
            for file in self.objects.iterdir()
            if f"{self.objects.name}/{file.name}" not in named
        ]
        for file in unnamed:
            file.unlink(missing_ok=True)
        return len(unnamed)

    def _end(
        self, uid: str, state: str, decision: str, reason: str, objects: Iterable[NewObject]
    ) -> None:
        rows = [
            (
                uid,
                new.destination,
                new.kind,
                check_uid(new.uid),
                new.sop_class,
                new.file,
                0 if new.failure else (self.folder / new.file).stat().st_size,
                new.commitment,
                "dead" if new.failure else "waiting",
                new.failure,
            )
            for new in objects
        ]
        with self.index.transaction() as connection:
            changed = connection.execute(
                "UPDATE images SET state = ?, decision = ?, reason = ?"
                " WHERE uid = ? AND state = 'received'",
                (state, decision, reason, uid),
            )
            if changed.rowcount != 1:
                return
            connection.executemany(
                "INSERT OR IGNORE INTO objects"
                " (image, destination, kind, uid, sop_class, file, bytes, commitment, state,"
                " reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            settle(connection, uid)


def settle(connection: sqlite3.Connection, uid: str) -> None:
    """Set the state of an image from those of its objects; within a transaction."""
    waiting, dead, uncommitted, confirmed, sent = connection.execute(
        "SELECT TOTAL(state = 'waiting'), TOTAL(state = 'dead'),"
        " TOTAL(state = 'sent' AND commitment), TOTAL(state = 'confirmed'), TOTAL(state = 'sent')"
        " FROM objects WHERE image = ?",
        (uid,),
    ).fetchone()
    state = "answered"
    if not waiting and not dead and (sent or confirmed):
        state = "confirmed" if confirmed and not uncommitted else "sent"
    is_settled = not (waiting or uncommitted)  # what is dead is left alone from now on
    connection.execute(
        "UPDATE images SET state = CASE state WHEN 'dead' THEN 'dead' ELSE ? END,"
        " settled_at = CASE WHEN ? THEN COALESCE(settled_at, ?) END WHERE uid = ?",
        (state, is_settled, time.time(), uid),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
