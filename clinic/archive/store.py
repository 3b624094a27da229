"""The store: a folder for each bundle, with one row for each input in Parquet parts.

    STORE/BUNDLE/run.json        which bundle, target, precision and threads made the rows
    STORE/BUNDLE/owner           the run that may write; an older one that still lives may not
    STORE/BUNDLE/lock            held while a run works
    STORE/BUNDLE/parts/*.parquet

`BUNDLE` is the first 16 digits of the bundle's SHA-256. A part is named by the inputs in it, so a
share that is done twice replaces its own part. `Store.tidy` removes a second row that an older run
wrote while this one began.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orthoedge.clinic.archive.plan import temporary_database
from orthoedge.clinic.archive.rows import ArchiveRow, RunRecord, arrow_schema, field_names
from orthoedge.clinic.file_system import only_one
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.errors import ConfigError, DataError, EngineError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Store", "list_stores"]

_RUN, _OWNER, _LOCK, _PARTS = "run.json", "owner", "lock", "parts"
_BATCH = 4096  # rows in memory


@dataclass(frozen=True)
class Store:
    """The rows of one bundle."""

    folder: Path
    """`STORE/BUNDLE`."""

    @classmethod
    def of_bundle(cls, root: Path, bundle_sha256: str) -> Store:
        """The rows that a bundle has, or will have, in the store `root`."""
        return cls(root / bundle_sha256[:16])

    def record(self) -> RunRecord | None:
        """What made the rows; None before the first run.

        Raises:
            DataError: the file is not readable.
        """
        file = self.folder / _RUN
        try:
            return msgspec.json.decode(file.read_bytes(), type=RunRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"{file}: not a record of archive run: {error}") from error

    def check(self, record: RunRecord) -> None:
        """Raise ConfigError if the rows that are there were made in another way than `record`."""
        before = self.record()
        if before is not None and before != record:
            same = f"--target {before.target} --precision {before.precision}"
            same += f" --threads {before.threads}"
            raise ConfigError(
                f"{self.folder}: its rows were made with {same}; give the same, or another store"
            )

    @contextmanager
    def opened(self, record: RunRecord) -> Iterator[str]:
        """Take the store for one run; yield the token with which its workers may write.

        Raises:
            ConfigError: the rows that are there were made in another way.
            DataError: another run works on it.
        """
        (self.folder / _PARTS).mkdir(parents=True, exist_ok=True)
        busy = f"{self.folder}: another archive run works on it"
        with only_one(self.folder / _LOCK, busy, "wait for it or stop it") as describe:
            describe(f" on {socket.gethostname()}")
            self.check(record)
            if self.record() is None:
                write_atomic(self.folder / _RUN, msgspec.json.format(msgspec.json.encode(record)))
            token = os.urandom(16).hex()
            write_atomic(self.folder / _OWNER, token.encode())
            yield token

    def write_part(self, rows: Sequence[ArchiveRow], token: str) -> None:
        """Write the rows of one share.

        Args:
            rows: one for each input of the share.
            token: of the run, from `opened`.

        Raises:
            EngineError: another run has taken the store over.
            OSError: the part cannot be written; `filename` is its path.
        """
        if (self.folder / _OWNER).read_text() != token:
            raise EngineError(f"{self.folder}: another archive run has taken it over")
        import pyarrow as pa

        records = [{name: getattr(row, name) for name in field_names(ArchiveRow)} for row in rows]
        for record in records:
            record["probabilities"] = list(record["probabilities"].items())
            for key in ("provenance", "timing_ms"):
                record[key] = None if record[key] is None else vars(record[key])
        table = pa.Table.from_pylist(records, arrow_schema())
        name = sha256("\0".join(row.input for row in rows).encode())
        self._write(self.folder / _PARTS / f"{name[:32]}.parquet", table)

    def _write(self, part: Path, table: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        write_atomic(part, buffer.getvalue())

    def parts(self) -> list[Path]:
        """The Parquet files, sorted by name."""
        return sorted((self.folder / _PARTS).glob("*.parquet"))

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
        """Yield all rows part by part, some thousand at a time.

        Args:
            columns: those to read.

        Raises:
            DataError: a part is damaged.
        """
        for part in self.parts():
            for batch in _read(part, columns):
                yield part, batch

    def done(self, *, but_errors: bool = False) -> Iterator[str]:
        """Yield the names of the inputs that have a row; `but_errors` leaves failures out."""
        for _, batch in self.batches(("input", "error")):
            for row in batch:
                if not (but_errors and row["error"] is not None):
                    yield row["input"]

    def failures(self) -> int:
        """Count the rows without an answer; raises DataError where a part is damaged."""
        return sum(
            row["error"] is not None for _, batch in self.batches(("error",)) for row in batch
        )

    def tidy(self, *, drop_errors: bool = False) -> None:
        """Keep one row for each input, the first in the order of the parts.

        Args:
            drop_errors: also remove the rows of inputs that failed.
        """
        database = temporary_database()
        try:
            database.execute("CREATE TABLE seen (name TEXT PRIMARY KEY) WITHOUT ROWID")
            for part in self.parts():
                kept, dropped = [], False
                for batch in _read(part, ("input", "error")):
                    for row in batch:
                        is_kept = not (drop_errors and row["error"] is not None) and bool(
                            database.execute(
                                "INSERT OR IGNORE INTO seen VALUES (?)", (row["input"],)
                            ).rowcount
                        )
                        kept.append(is_kept)
                        dropped |= not is_kept
                if dropped:
                    self._keep(part, kept)
        finally:
            database.close()

    def _keep(self, part: Path, kept: list[bool]) -> None:
        """Write a part again with some of its rows, or remove it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(part).filter(pa.array(kept))
        if len(table):
            # No name that the inputs alone would give: a part of that name may be there already,
            # and would be removed as a repetition of this one.
            name = sha256(part.name.encode() + bytes(kept))
            self._write(part.with_name(f"{name[:32]}.parquet"), table)
        part.unlink()


def _read(part: Path, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_BATCH, columns=list(columns)):
                yield batch.to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{part}: damaged: {line}; remove it and run again") from error


def list_stores(root: Path) -> list[tuple[Store, RunRecord]]:
    """The bundles that have rows in a store.

    Raises:
        DataError: there are none.
    """
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        store = Store(folder)
        if folder.is_dir() and (record := store.record()) is not None:
            found.append((store, record))
    if not found:
        raise DataError(f"{root}: no store of orthoedge archive run")
    return found
