"""The index of the spool: an SQLite database in WAL mode.

Why SQLite and not files and renames alone: an image has one state, each of its objects another for
each destination, and each of them a count of attempts and a time for the next. With files, one step
is several renames, and a kill between them leaves a state that never was; here it is one
transaction. Three processes and `orthoedge node status` read and write at once, which WAL is made
for, and 'the next to send to this destination' is a query, not a walk over a folder of 10,000. The
pixels stay files next to it: 100 MB have no place in a log that is written twice.

The order makes it safe to kill any process at any point: a file is complete, synced and under its
final name before the index names it, and leaves the disk before the index forgets it.
`synchronous=FULL`: a commit is on the disk before the sender hears of it.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orthoedge.runtime.errors import DataError

__all__ = ["Index", "committed", "open_database"]

_VERSION = 1
_BUSY_S = 60.0  # a commit of another process waits for the disk
_RETRY_S = 0.02
_SCHEMA = """
CREATE TABLE images (
    uid TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sop_class TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    peer TEXT NOT NULL,
    received_at REAL NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    decision TEXT NOT NULL DEFAULT '',
    settled_at REAL
) WITHOUT ROWID;
CREATE INDEX images_by_state ON images (state, attempts, received_at);
CREATE INDEX images_unsettled ON images (uid) WHERE settled_at IS NULL;
CREATE TABLE objects (
    number INTEGER PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images (uid) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    uid TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    commitment INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    transaction_uid TEXT NOT NULL DEFAULT '',
    ask_at REAL NOT NULL DEFAULT 0,
    UNIQUE (destination, uid)
);
CREATE INDEX objects_by_state ON objects (destination, state, next_try);
CREATE INDEX objects_by_image ON objects (image);
CREATE INDEX objects_by_transaction ON objects (transaction_uid) WHERE transaction_uid != '';
CREATE TABLE destinations (
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    next_try REAL NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database that several processes share and that a power cut leaves whole.

    Threads may share the connection; each statement is a transaction of its own unless one is
    begun.

    Raises:
        sqlite3.DatabaseError: damaged, or the disk fails.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change to WAL mode; two that change it at once get SQLITE_BUSY, whatever the timeout."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def committed(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Begin a transaction that is committed on exit, or rolled back on an error.

    Raises:
        sqlite3.DatabaseError: as SQLite says it.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Index:
    """A connection to the database; threads may share it, processes may not.

    Args:
        folder: the spool; the database is made there if it is missing.

    Raises:
        DataError: the database is damaged, or of another version of this program.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "index.sqlite"
        self._lock = threading.RLock()
        try:
            self._connection = open_database(self._path)
            self._connection.execute("PRAGMA foreign_keys=ON")
            with self.transaction() as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self._path}: cannot be used as the spool's index: {error}"
            ) from error
        if version not in (0, _VERSION):
            self._connection.close()
            raise DataError(
                f"{self._path}: of version {version}, this program reads {_VERSION}; use the "
                "program that wrote it until the spool is empty"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that is committed on exit, or rolled back on an error.

        Raises:
            OSError: the disk is full or fails, or another process holds the index for a minute.
            DataError: the database is damaged.
        """
        with self._lock:
            try:
                with committed(self._connection) as connection:
                    yield connection
            except sqlite3.OperationalError as error:
                raise OSError(errno.EIO, f"the spool's index: {error}", str(self._path)) from error
            except sqlite3.DatabaseError as error:
                raise DataError(f"{self._path}: {error}") from error

    def read(self, query: str, *values: str | float) -> list[tuple[object, ...]]:
        """Run one query outside a transaction.

        Raises:
            OSError, DataError: as `transaction`.
        """
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                raise OSError(errno.EIO, f"the spool's index: {error}", str(self._path)) from error
            except sqlite3.DatabaseError as error:
                raise DataError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()
