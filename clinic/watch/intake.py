"""From the watched folder into the spool: a copy, so that the original is never touched.

A kill at any point loses and doubles nothing: the journal names the file before the spool has it,
and calls it done afterwards; a file between the two is taken again, and the spool has each SOP
instance once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orthoedge.clinic.log import Log
from orthoedge.clinic.spool.records import NewImage
from orthoedge.clinic.spool.spool import Spool, check_uid
from orthoedge.clinic.watch.journal import FileState, Journal
from orthoedge.runtime.errors import InputError

__all__ = ["CALLING_AE", "FolderIntake"]

CALLING_AE = "WATCH"
"""Stands for the sender of an image in the rules of a destination."""
_CHUNK = 2**20


@dataclass(frozen=True)
class _Copy:
    path: Path
    head: bytes
    digest: bytes
    """SHA-256 of the content."""


class FolderIntake:
    """Puts files of a watched folder into a spool.

    Args:
        folder: the watched folder.
        spool: takes the copies.
        journal: what was taken.
        log: takes a line for each file, which names it by its UID: names may identify patients.
    """

    def __init__(self, folder: Path, spool: Spool, journal: Journal, log: Log) -> None:
        self._folder = folder
        self._spool = spool
        self._journal = journal
        self._log = log

    def take(self, name: str, state: FileState) -> bool:
        """Take one file.

        Args:
            name: path below the folder.
            state: of the file when it had stopped growing.

        Returns:
            False if it has changed meanwhile, so that it is to be taken later.

        Raises:
            OSError: the file cannot be read, or the spool's disk fails; `filename` tells which.
        """
        copy = self._copy(name, state)
        if copy is None:
            return False
        try:
            if not _may_be_image(name, copy.head):
                self._journal.begin(name, state, "", is_picture=False)
                self._journal.end(name, "")
                self._log("passed over: not an image", bytes=state.size)
                return True
            image = _dicom_image(copy.path)
            is_picture = image is None
            if image is None:
                image = NewImage(_picture_uid(name, copy.digest), "", CALLING_AE, "")
            self._journal.begin(name, state, image.uid, is_picture=is_picture)
            self._forget_dead(image.uid)
            is_new = self._spool.add_image(copy.path, image)
            self._journal.end(name, image.uid)
        finally:
            copy.path.unlink(missing_ok=True)
        self._log(
            "image taken" if is_new else "image taken before", uid=image.uid, bytes=state.size
        )
        return True

    def _copy(self, name: str, state: FileState) -> _Copy | None:
        """Copy a file into `incoming/`, synced; None if it is another one than `state` tells."""
        source = self._folder / name
        copy = self._spool.incoming / f"watched-{os.urandom(8).hex()}"
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as original:
            try:
                with copy.open("xb") as file:
                    head, digest = _copy_content(original, file)
                    os.fsync(file.fileno())
                after = FileState.of(os.fstat(original.fileno()))
            except BaseException:
                copy.unlink(missing_ok=True)
                raise
        if after != state:
            copy.unlink()
            return None
        return _Copy(copy, head, digest)

    def _forget_dead(self, uid: str) -> None:
        """Let an image that has no answer be taken again: its file has changed since."""
        rows = self._spool.index.read("SELECT file FROM images WHERE uid = ? AND state='dead'", uid)
        for (file,) in rows:
            (self._spool.folder / str(file)).unlink(missing_ok=True)
            with self._spool.index.transaction() as connection:
                connection.execute("DELETE FROM images WHERE uid = ? AND state = 'dead'", (uid,))
            for suffix in (".dcm", ".txt"):
                (self._spool.dead / f"{uid}{suffix}").unlink(missing_ok=True)


def _copy_content(source: BinaryIO, target: BinaryIO) -> tuple[bytes, bytes]:
    """Copy; return the first bytes and the SHA-256."""
    digest, head = hashlib.sha256(), b""
    while chunk := source.read(_CHUNK):
        head = head or chunk[:_CHUNK]
        digest.update(chunk)
        target.write(chunk)
    target.flush()
    return head, digest.digest()


def _may_be_image(name: str, head: bytes) -> bool:
    """Return whether the content is that of an image, or the suffix says so."""
    from orthoedge.runtime.dicom.encoding import HEAD
    from orthoedge.runtime.image_io.folder import SUFFIXES
    from orthoedge.runtime.image_io.headers import recognize

    kind = recognize(head[:HEAD])
    return Path(name).suffix.lower() in SUFFIXES or kind not in (None, "BMP")


def _dicom_image(file: Path) -> NewImage | None:
    """Identity of a DICOM file; None for any other, and for one that does not state its UIDs."""
    from orthoedge.clinic.sending.dicom_file import read_identity

    with contextlib.suppress(InputError):
        identity = read_identity(file)
        return NewImage(
            check_uid(identity.sop_instance_uid), identity.sop_class_uid, CALLING_AE, ""
        )
    return None


def _picture_uid(name: str, digest: bytes) -> str:
    """A UID after PS3.5 B.2 of the name and the content: the same file gives the same again."""
    number = hashlib.sha256(os.fsencode(name) + b"\0" + digest).digest()[:16]
    return f"2.25.{int.from_bytes(number, 'big')}"
