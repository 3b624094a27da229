"""The journal of a watched folder: which files were taken, so that a restart takes none twice.

A database of its own next to the spool's index: the spool forgets an image after its retention, and
the file may still be in the folder then. Lines are never removed, since a folder that is empty may
be a disk that is not mounted at the moment. About 200 bytes a file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from orthoedge.clinic.spool.index import open_database

__all__ = ["FileState", "Journal", "printable_name"]

_NAME = "watched.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY,
    path BLOB NOT NULL,
    uid TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    is_picture INTEGER NOT NULL,
    is_done INTEGER NOT NULL,
    UNIQUE (path, uid)
);
CREATE INDEX IF NOT EXISTS files_by_uid ON files (uid);
"""


@dataclass(frozen=True)
class FileState:
    """By what a file is known to be the one that was taken."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Take it from what `stat` returns."""
        return cls(status.st_size, status.st_mtime_ns)


class Journal:
    """The journal in a spool's folder; the watcher writes it, the worker reads it.

    Args:
        spool: folder of the spool; the journal is made there if it is missing.

    Raises:
        OSError: the disk fails, or the journal is damaged.
    """

    def __init__(self, spool: Path) -> None:
        self._path = spool / _NAME
        self._lock = threading.Lock()
        try:
            self._connection = open_database(self._path)
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    @staticmethod
    def exists(spool: Path) -> bool:
        """Return whether the spool in this folder has a journal."""
        return (spool / _NAME).is_file()

    def done(self) -> dict[str, FileState]:
        """State of each file that was taken or passed over, by its path below the folder."""
        rows = self._run("SELECT path, size, mtime_ns FROM files WHERE is_done ORDER BY number")
        return {os.fsdecode(path): FileState(size, mtime) for path, size, mtime in rows}

    def begin(self, name: str, state: FileState, uid: str, *, is_picture: bool) -> None:
        """Write down that a file is put into the spool now.

        Args:
            name: path below the folder.
            state: of the file.
            uid: the SOP instance that it becomes in the spool; empty for a file that is no image.
            is_picture: whether it has no DICOM header.
        """
        self._run(
            "INSERT OR REPLACE INTO files (path, uid, size, mtime_ns, is_picture, is_done)"
            " VALUES (?, ?, ?, ?, ?, 0)",
            *(os.fsencode(name), uid, state.size, state.mtime_ns, is_picture),
        )

    def end(self, name: str, uid: str) -> None:
        """Write down that it is in the spool, or was passed over."""
        self._run("UPDATE files SET is_done = 1 WHERE path = ? AND uid = ?", os.fsencode(name), uid)

    def picture(self, uid: str) -> str | None:
        """Path below the folder of a picture without a DICOM header; None for any other image."""
        return self._name("SELECT path FROM files WHERE uid = ? AND is_picture", uid)

    def name(self, uid: str) -> str | None:
        """Path below the folder of the file that an image came from; None if none did."""
        return self._name("SELECT path FROM files WHERE uid = ? ORDER BY number DESC LIMIT 1", uid)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def _name(self, query: str, uid: str) -> str | None:
        rows = self._run(query, uid)
        return os.fsdecode(rows[0][0]) if rows else None

    def _run(self, query: str, *values: str | bytes | int) -> list[tuple[bytes, int, int]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._failure(error) from error

    def _failure(self, error: sqlite3.DatabaseError) -> OSError:
        return OSError(errno.EIO, f"the journal of the folder: {error}", str(self._path))


def printable_name(name: str) -> str:
    """Write a name as one line of text: bytes that are not UTF-8, and controls, as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
