"""What is left to do, in a temporary file, so that memory does not grow with the archive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from orthoedge.clinic.archive.inputs.sources import ArchiveInput
from orthoedge.runtime.errors import DataError

__all__ = ["Plan", "temporary_database"]

_CACHE_KIB = 16_384


def temporary_database() -> sqlite3.Connection:
    """Open a database in a temporary file without a name; SQLite chooses its folder."""
    database = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    return database


class Plan:
    """The inputs of a source without those that have a row.

    Args:
        inputs: as listed; one that is listed twice counts once.
        done: names of the inputs that have a row.

    Raises:
        DataError: there is no room for the temporary file.
    """

    def __init__(self, inputs: Iterable[ArchiveInput], done: Iterable[str]) -> None:
        self._database = temporary_database()
        with _no_room(), self._transaction():
            self._database.execute("CREATE TABLE done (name TEXT PRIMARY KEY) WITHOUT ROWID")
            self._database.executemany(
                "INSERT OR IGNORE INTO done VALUES (?)", ((name,) for name in done)
            )
            self._database.execute(
                "CREATE TABLE inputs (number INTEGER PRIMARY KEY, name TEXT UNIQUE, "
                "address BLOB, source TEXT, truth TEXT)"
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO inputs (name, address, source, truth) VALUES (?, ?, ?, ?)",
                ((each.name, each.address, each.source, each.truth) for each in inputs),
            )
            self.listed = self._count("SELECT count(*) FROM inputs")
            """Inputs of the source."""
            self._database.execute("DELETE FROM inputs WHERE name IN (SELECT name FROM done)")
            self.left = self._count("SELECT count(*) FROM inputs")
            """Inputs that have no row."""

    def shares(self, size: int) -> Iterator[tuple[ArchiveInput, ...]]:
        """Yield what is left in the order of the source, `size` inputs at a time."""
        with _no_room():
            rows = self._database.execute(
                "SELECT address, source, truth FROM inputs ORDER BY number"
            )
            while share := tuple(ArchiveInput(*row) for row in islice(rows, size)):
                yield share

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()

    def _count(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        yield
        self._database.execute("COMMIT")


@contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(
            f"the list of inputs: {error}; SQLITE_TMPDIR names a folder with more room"
        ) from error
