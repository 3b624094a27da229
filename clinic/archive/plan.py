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
    """The inputs of a source that are to be done.

    Args:
        inputs: as listed; one that is listed twice counts once.

    Raises:
        DataError: there is no room for the temporary file.
    """

    def __init__(self, inputs: Iterable[ArchiveInput]) -> None:
        self._database = temporary_database()
        with _no_room(), self._transaction():
            self._database.execute(
                "CREATE TABLE inputs (number INTEGER PRIMARY KEY, name TEXT UNIQUE, "
                "address BLOB, source TEXT, truth TEXT)"
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO inputs (name, address, source, truth) VALUES (?, ?, ?, ?)",
                ((each.name, each.address, each.source, each.truth) for each in inputs),
            )
        self.listed = self.left = self._count()
        """Inputs of the source, and those of them that are to be done."""

    def leave_out(self, names: Iterable[str]) -> None:
        """Take the inputs of these names out; other names are passed over.

        Raises:
            DataError: there is no room for the temporary file.
        """
        with _no_room(), self._transaction():
            self._database.executemany(
                "DELETE FROM inputs WHERE name = ?", ((name,) for name in names)
            )
        self.left = self._count()

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

    def _count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM inputs").fetchone()[0])

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
