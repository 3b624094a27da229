"""An SQLite database that several processes share, with migrations and checks.

Why `synchronous=FULL` in WAL mode: what was confirmed is on the disk, also after a power cut. Why
`secure_delete`: a deleted patient's name must not stay readable in a free page.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from orthoedge.clinic.spool.index import committed, open_database
from orthoedge.runtime.errors import DataError

__all__ = ["Database", "Value"]

Value = str | float | bytes | None
"""What a column holds."""


class Database:
    """A connection to a database; threads may share it, processes may not.

    Args:
        path: made if it is missing, in an existing folder.
        migrations: scripts of SQL; the first makes version 1, each further one the next version.
        what: names the database in errors.
        functions: of the scripts, by name; each takes any number of values.

    Raises:
        DataError: it is damaged, or was written by a newer version of this program.
        OSError: the disk is full or fails.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        what: str,
        functions: Mapping[str, Callable[..., Value]],
    ) -> None:
        self.path = path
        self._what = what
        self._lock = threading.RLock()
        with self._errors():
            self._connection = open_database(path)
        try:
            with self._errors():
                self._connection.execute("PRAGMA foreign_keys=ON")
                self._connection.execute("PRAGMA secure_delete=ON")
                for name, function in functions.items():
                    self._connection.create_function(name, -1, function, deterministic=True)
            self._migrate(migrations)
        except BaseException:
            self._connection.close()
            raise

    def _migrate(self, migrations: Sequence[str]) -> None:
        """Bring the database to the newest version, each step in a transaction of its own."""
        while (version := self.version) < len(migrations):
            with self.transaction() as connection:
                # Another process may have made the step while this one waited for the lock.
                if connection.execute("PRAGMA user_version").fetchone()[0] == version:
                    for statement in _statements(migrations[version]):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={version + 1}")
        if version > len(migrations):
            raise DataError(
                f"{self.path}: {self._what} is of version {version}, this program reads "
                f"{len(migrations)}; install the version of the program that wrote it"
            )

    def downgrade(self, reversals: Sequence[str], version: int) -> None:
        """Bring the database back to a version that an older program reads, in one transaction.

        Args:
            reversals: scripts of SQL; the first leads from version 2 to 1.
            version: 1 to that of the database.

        Raises:
            OSError, DataError: as `transaction`; nothing was changed.
        """
        with self.transaction() as connection:
            for step in range(self.version - 1, version - 1, -1):
                for statement in _statements(reversals[step - 1]):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version}")

    @property
    def version(self) -> int:
        """Version of the schema; 0 for a new database."""
        return int(str(self.read("PRAGMA user_version")[0][0]))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that is committed on exit, or rolled back on an error.

        Raises:
            OSError: the disk is full or fails, or another process holds the database for a minute.
            DataError: the database is damaged, or a row breaks its rules.
        """
        with self._lock, self._errors(), committed(self._connection) as connection:
            yield connection

    def read(self, query: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """Run one query outside a transaction.

        Raises:
            OSError, DataError: as `transaction`.
        """
        with self._lock, self._errors():
            return self._connection.execute(query, values).fetchall()

    def check(self, tables: Sequence[str] = ()) -> tuple[str, ...]:
        """Compare the database with itself, and return what is wrong.

        Args:
            tables: compare these alone, without their indexes; empty for everything.
        """
        pragmas = [f"quick_check({table})" for table in tables] or ["integrity_check(10)"]
        rows = [str(row[0]) for pragma in pragmas for row in self.read(f"PRAGMA {pragma}")]
        rows = [row for row in rows if row != "ok"]
        orphans = [] if tables else self.read("PRAGMA foreign_key_check")
        return (*rows, *(f"a row of {orphan[0]!s} belongs to nothing" for orphan in orphans))

    def copy(self, target: Path) -> None:
        """Write a snapshot of the database to `target`, while others go on writing.

        Raises:
            OSError, DataError: as `transaction`.
        """
        with self._errors(), closing(sqlite3.connect(target)) as connection, self._lock:
            self._connection.backup(connection)
            connection.execute("PRAGMA journal_mode=DELETE")  # one file, without a log next to it

    def forget(self) -> None:
        """Empty the log of changes, which may hold rows that were deleted."""
        self.read("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            code = errno.ENOSPC if "full" in text else errno.EIO
            reason = "the disk is full" if code == errno.ENOSPC else text
            raise OSError(code, f"{self._what}: {reason}", str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {self._what} cannot be used: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; a trigger has semicolons of its own."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if statement.strip() != ";" and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
