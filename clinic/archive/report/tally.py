"""The rows of a store in a temporary database, to count them in whatever number there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orthoedge.clinic.archive.plan import temporary_database
from orthoedge.clinic.archive.rows import RunRecord
from orthoedge.clinic.archive.store import list_stores

__all__ = ["Tally"]

_COLUMNS = (
    *("input", "source", "truth", "label", "probabilities", "decision", "error", "host"),
    *("provenance", "pixels_sha256", "finished_at"),
)


class Tally:
    """Every row of a store, once.

    Args:
        root: the store.

    Raises:
        DataError: there is no store, or a part of it is damaged.
    """

    def __init__(self, root: Path) -> None:
        self._database = temporary_database()
        self._database.execute(
            "CREATE TABLE rows (bundle INTEGER, input TEXT, source TEXT, truth TEXT, label TEXT, "
            "probability REAL, decision TEXT, error TEXT, host TEXT, engine TEXT, pixels TEXT, "
            "second REAL, PRIMARY KEY (bundle, input)) WITHOUT ROWID"
        )
        loaded = []
        self._database.execute("BEGIN")
        for number, (store, record) in enumerate(list_stores(root)):
            for _, batch in store.batches(_COLUMNS):
                self._database.executemany(
                    "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (_values(number, row) for row in batch),
                )
            (began,) = self.one("SELECT min(second) FROM rows WHERE bundle = ?", number)
            loaded.append((began or 0.0, number, record))
        self._database.execute("COMMIT")
        self.bundles: list[tuple[int, RunRecord]] = [
            (number, record) for _, number, record in sorted(loaded, key=lambda each: each[:2])
        ]
        """Number in the table, and what made the rows; in the order in which they began."""

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Every line that a query selects from `rows`."""
        return self._database.execute(query, values).fetchall()

    def one(self, query: str, *values: object) -> tuple[Any, ...]:
        """The only line of a query."""
        line: tuple[Any, ...] = self._database.execute(query, values).fetchone()
        return line

    def close(self) -> None:
        """Remove the database."""
        self._database.close()


def _values(bundle: int, row: dict[str, Any]) -> tuple[object, ...]:
    provenance = row["provenance"]
    engine = ""
    if provenance is not None:
        engine = " ".join(
            provenance[key] for key in ("engine", "engine_version", "precision", "isa")
        )
    return (
        bundle,
        row["input"],
        row["source"],
        row["truth"],
        row["label"],
        dict(row["probabilities"]).get(row["label"]),
        row["decision"],
        row["error"],
        row["host"],
        engine,
        row["pixels_sha256"],
        row["finished_at"].timestamp(),
    )
