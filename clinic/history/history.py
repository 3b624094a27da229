"""The history of a clinic: findings, opinions on them, and the audit trail, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from orthoedge.clinic.history.database import Database, Value
from orthoedge.clinic.history.pixels import PixelFiles
from orthoedge.clinic.history.records import (
    AuditEntry,
    EntryCounts,
    FindingSummary,
    NewFinding,
    Opinion,
    PatientFacts,
    Picture,
    SearchQuery,
    SpacingPlane,
    StoredFinding,
    StoredOpinion,
    StudyFacts,
)
from orthoedge.clinic.history.schema import MIGRATIONS, REVERSALS
from orthoedge.clinic.history.searching import is_of_region, search_condition, searched_text
from orthoedge.clinic.words.facts import region_of
from orthoedge.clinic.words.failures import failure_id
from orthoedge.runtime.errors import ConfigError, DataError

__all__ = ["DATABASE", "LOCK", "History"]

DATABASE = "history.sqlite"
"""Name of the database in the history's folder."""
LOCK = ".orthoedge-lock"
"""File that whoever needs the folder alone holds: a server, a backup into it, a restore."""

_LOOK_S = 900.0  # after which the same user looks once more
_LAST_OPINION = """(SELECT agrees FROM opinions WHERE finding = findings.number
    ORDER BY opinions.number DESC LIMIT 1)"""
_SUMMARY = f"""SELECT number, time, origin, file_name, patient_id, patient_name, study_date,
    body_part, laterality, label, decision, probability, alert, {_LAST_OPINION}, failure,
    diameter_mm"""
_OF_PATIENT = "patient_id = ? AND (birth_date = ? OR birth_date = '' OR ? = '')"
_OPINIONS = {None: "", 0: "disagree", 1: "agree"}


class _Region(msgspec.Struct):
    """An outlined region, of which the largest is shown."""

    area_px: float
    diameter_mm: float | None


class _Head(msgspec.Struct):
    """What the list shows of a finding."""

    label: str
    decision: str
    probabilities: dict[str, float]
    label_set: tuple[str, ...]
    out_of_distribution: float
    lesions: tuple[_Region, ...] | None = None


class History:
    """Findings in a folder; threads may share one, and several processes may open the same folder.

    Args:
        folder: on a local disk; made if it is missing, readable by its owner alone.

    Raises:
        DataError: the database is damaged, or of a newer version of this program.
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.pixels = PixelFiles(folder / "pixels")
        functions: dict[str, Callable[..., Value]] = {
            "searched_text": searched_text,
            "is_of_region": is_of_region,
        }
        self.database = Database(folder / DATABASE, MIGRATIONS, "the history", functions)

    def add(self, new: NewFinding, pixels: bytes = b"") -> int:
        """Enter a finding, and return its number once it is on the disk.

        Args:
            new: the finding; the hash of `new.picture` is that of pixels which are kept already.
            pixels: those that are not yet: uint16 little-endian, row by row, bone bright.

        Raises:
            DataError: `new.finding` is no finding.
            OSError: the disk is full or fails; nothing was entered.
        """
        digest = self.pixels.write(pixels) if pixels else new.picture and new.picture.sha256
        columns = _columns(new, digest or None, time.time())
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self.database.transaction() as connection:
            if new.key:
                known = connection.execute("SELECT number FROM findings WHERE key = ?", (new.key,))
                if row := known.fetchone():
                    return int(row[0])
            if digest and not self.pixels.has(digest):  # just deleted with another finding
                if not pixels:
                    raise DataError(f"{new.file_name}: its pixels were deleted; add it again")
                self.pixels.write(pixels)
            query = f"INSERT INTO findings ({names}) VALUES ({marks})"
            number = int(connection.execute(query, list(columns.values())).lastrowid or 0)
            if new.finding:
                query = "INSERT INTO answers (number, finding) VALUES (?, ?)"
                connection.execute(query, (number, new.finding))
            return number

    def get(self, number: int) -> StoredFinding | None:
        """A finding with everything that is known of it; None if there is none of that number."""
        summaries = self._summaries("WHERE number = ?", [number])
        if not summaries:
            return None
        ((finding, image_sha256, *facts),) = self.database.read(
            "SELECT (SELECT finding FROM answers WHERE number = findings.number), image_sha256, "
            "patient_id, patient_name, birth_date, sex, study_date, study_time, accession, "
            "description, body_part, laterality, view, institution, "
            "row_spacing, column_spacing, spacing_plane, "
            "width, height, bits, window_center, window_width, pixels "
            "FROM findings WHERE number = ?",
            [number],
        )
        spacing, plane, picture = facts[12:14], facts[14], facts[15:]
        return StoredFinding(
            summary=summaries[0],
            image_sha256=str(image_sha256),
            finding=bytes(finding) if isinstance(finding, bytes) else b"",
            patient=PatientFacts(*map(str, facts[:4])),
            study=StudyFacts(*map(str, facts[4:12])),
            spacing_mm=None
            if spacing[0] is None
            else msgspec.convert(spacing, tuple[float, float]),
            spacing_plane=msgspec.convert(plane, SpacingPlane),
            picture=None if picture[-1] is None else Picture(*picture),  # type: ignore[arg-type]
            opinions=self._opinions(number),
        )

    def search(self, query: SearchQuery) -> list[FindingSummary]:
        """Findings that match, the last one first, at most `query.limit`.

        Raises:
            OSError, DataError: the database cannot be read.
        """
        words, condition, values = search_condition(query)
        # The order of the join is given: else SQLite looks up every finding with the words first.
        join = "searched CROSS JOIN findings ON number = searched.rowid" if words else "findings"
        order = "searched.rowid" if words else "number"
        match = "searched MATCH ? AND " if words else ""
        return self._summaries(
            f"WHERE {match}{condition} ORDER BY {order} DESC LIMIT ?",
            [*([words] if words else []), *values, query.limit],
            source=join,
        )

    def count_since(self, seconds: float) -> EntryCounts:
        """Count the findings that were entered since a time, in seconds since 1970.

        Raises:
            OSError, DataError: the database cannot be read.
        """
        ((findings, urgent),) = self.database.read(
            # Read from the end: the last finding before the time is soon there.
            "SELECT count(*), total(decision = 'refer' OR decision = 'report' AND alert) "
            "FROM findings WHERE failure = '' AND number > ifnull((SELECT number FROM findings "
            "WHERE time < ? ORDER BY number DESC LIMIT 1), 0)",
            [seconds],
        )
        return EntryCounts(int(str(findings)), int(float(str(urgent))))

    def of_patient(self, patient: PatientFacts) -> list[FindingSummary]:
        """Findings of one patient, the first one first; none for a patient without an id.

        An id is given again after years, and by another hospital: where both findings have a date
        of birth it must be the same.
        """
        if not patient.id:
            return []
        return self._summaries(
            f"WHERE {_OF_PATIENT} ORDER BY day, study_time, number",
            [patient.id, patient.birth_date, patient.birth_date],
        )

    def earlier(
        self, patient: PatientFacts, study: StudyFacts, image_sha256: str, entered: float = 0.0
    ) -> tuple[tuple[bytes, StudyFacts], ...]:
        """Findings on earlier radiographs of a patient, the first one first; see `of_patient`.

        Args:
            patient: of the radiograph.
            study: likewise.
            image_sha256: of its file, which is not listed itself.
            entered: when its finding was entered, in seconds since 1970; 0 if it is not yet.

        Returns:
            JSON of each finding, with the study.
        """
        if not patient.id:
            return ()
        entered = entered or time.time()
        moment: list[Value] = [_day(study, entered), study.time, entered]
        rows = self.database.read(
            "SELECT finding, study_date, study_time, body_part, laterality FROM findings "
            f"JOIN answers USING (number) WHERE {_OF_PATIENT} "
            "AND image_sha256 <> ? AND (day, study_time, time) < (?, ?, ?) "
            "ORDER BY day, study_time, number",
            [patient.id, patient.birth_date, patient.birth_date, image_sha256, *moment],
        )
        return tuple(
            (
                bytes(finding) if isinstance(finding, bytes) else b"",
                StudyFacts(str(day), str(at), body_part=str(part), laterality=str(side)),
            )
            for finding, day, at, part, side in rows
        )

    def verdict(self, number: int, opinion: Opinion, user: str) -> None:
        """Enter a physician's opinion; earlier ones stay.

        Raises:
            DataError: there is no such finding.
            OSError: the disk is full or fails; nothing was entered.
        """
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO opinions (finding, time, user, agrees, label, note) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (number, time.time(), user, opinion.agrees, opinion.label, opinion.note),
            )
            _enter(connection.execute, user, "opinion", number, "")

    def delete(self, numbers: Sequence[int], user: str, reason: str) -> int:
        """Delete findings with their pixels and opinions, and return how many there were.

        The audit trail keeps that and by whom.

        Raises:
            OSError, DataError: the database or the disk cannot be used.
        """
        digests: set[Value] = set()
        deleted = 0
        with self.database.transaction() as connection:
            for number in numbers:
                row = connection.execute("SELECT pixels FROM findings WHERE number = ?", (number,))
                if (found := row.fetchone()) is None:
                    continue
                digests.add(found[0])
                connection.execute("DELETE FROM findings WHERE number = ?", (number,))
                _enter(connection.execute, user, "deleted", number, reason)
                deleted += 1
            if deleted:  # the index keeps deleted text until its parts are joined
                connection.execute("INSERT INTO searched (searched) VALUES ('optimize')")
        for digest in digests - {None}:
            with self.database.transaction() as connection:  # no finding is entered meanwhile
                query = "SELECT 1 FROM findings WHERE pixels = ? LIMIT 1"
                if connection.execute(query, (digest,)).fetchone() is None:
                    self.pixels.remove(str(digest))
        self.database.forget()
        return deleted

    def numbers_before(self, seconds: float) -> list[int]:
        """Numbers of the findings that were entered before a time, in seconds since 1970."""
        rows = self.database.read("SELECT number FROM findings WHERE time < ?", [seconds])
        return [int(str(row[0])) for row in rows]

    def remove_unnamed(self, young_s: float = 3600.0) -> int:
        """Remove pixels that no finding names, after a kill, and return how many.

        Args:
            young_s: seconds; younger ones stay, for the finding that names them may come yet.
        """
        rows = self.database.read("SELECT DISTINCT pixels FROM findings WHERE pixels IS NOT NULL")
        named = {row[0] for row in rows}
        unnamed = [digest for digest in self.pixels.older_than(young_s) if digest not in named]
        for digest in unnamed:
            self.pixels.remove(digest)
        return len(unnamed)

    def note(self, user: str, action: str, finding: int = 0, detail: str = "") -> None:
        """Enter a line into the audit trail.

        Raises:
            OSError, DataError: as `verdict`.
        """
        with self.database.transaction() as connection:
            _enter(connection.execute, user, action, finding, detail)

    def note_look(self, user: str, finding: int) -> None:
        """Enter that a user looked at a finding, unless the entry of that look is the user's last.

        A page asks for the finding, for its pixels, and for more of them with a zoom.

        Raises:
            OSError, DataError: as `verdict`.
        """
        with self.database.transaction() as connection:
            last = connection.execute(
                "SELECT action, finding, time FROM audit WHERE user = ? "
                "ORDER BY number DESC LIMIT 1",
                (user,),
            ).fetchone()
            if last and last[:2] == ("looked", finding) and time.time() - last[2] < _LOOK_S:
                return
            _enter(connection.execute, user, "looked", finding, "")

    def audit(self, before: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Entries of the audit trail, the last one first.

        Args:
            before: only entries with lower numbers; 0 for the last ones.
            limit: of their count.
        """
        rows = self.database.read(
            "SELECT number, time, user, action, finding, detail FROM audit "
            "WHERE number < ? OR ? = 0 ORDER BY number DESC LIMIT ?",
            [before, before, limit],
        )
        names = AuditEntry.__struct_fields__
        return [msgspec.convert(dict(zip(names, row, strict=True)), AuditEntry) for row in rows]

    def all_opinions(self) -> Iterator[tuple[FindingSummary, StoredOpinion]]:
        """Every opinion with its finding, in the order in which they were entered."""
        rows = self.database.read("SELECT DISTINCT finding FROM opinions ORDER BY finding")
        for (number,) in rows:
            for summary in self._summaries("WHERE number = ?", [number]):
                for opinion in self._opinions(summary.number):
                    yield summary, opinion

    def check_soundness(self) -> None:
        """Compare the tables that are searched with themselves, as quickly as that goes.

        Raises:
            DataError: one is damaged.
        """
        if problems := self.database.check(("findings", "opinions", "audit")):
            raise DataError(
                f"{self.database.path}: damaged: {problems[0]}; restore it from a backup"
            )

    def downgrade(self, version: int, user: str) -> None:
        """Bring the history back to the version that an older program reads, and close it.

        The audit trail keeps by whom.

        Raises:
            ConfigError: no such version.
            OSError, DataError: the database cannot be used; nothing was changed.
        """
        newest = len(MIGRATIONS)
        if not 1 <= version <= newest:
            raise ConfigError(f"version {version}: expected 1 to {newest}, that of this program")
        self.note(user, "downgraded", detail=f"to version {version}")
        self.database.downgrade(REVERSALS, version)
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _summaries(
        self, rest: str, values: Sequence[Value], source: str = "findings"
    ) -> list[FindingSummary]:
        names = FindingSummary.__struct_fields__[:-2]
        summaries = []
        for row in self.database.read(f"{_SUMMARY} FROM {source} {rest}", values):
            fields = dict(zip(names, row, strict=True))
            fields["alert"] = bool(fields["alert"])
            fields["opinion"] = _OPINIONS[fields["opinion"]]  # type: ignore[index]
            fields["region"] = region_of(str(fields["body_part"]))
            if fields["failure"]:
                fields["failure_id"] = failure_id(str(fields["failure"]))
            summaries.append(FindingSummary(**fields))  # type: ignore[arg-type]
        return summaries

    def _opinions(self, number: int) -> tuple[StoredOpinion, ...]:
        rows = self.database.read(
            "SELECT time, user, agrees, label, note FROM opinions WHERE finding = ? "
            "ORDER BY number",
            [number],
        )
        return tuple(
            StoredOpinion(
                time=float(str(row[0])),
                user=str(row[1]),
                agrees=bool(row[2]),
                label=str(row[3]),
                note=str(row[4]),
            )
            for row in rows
        )


def _enter(execute: object, user: str, action: str, finding: int, detail: str) -> None:
    assert callable(execute)
    execute(
        "INSERT INTO audit (time, user, action, finding, detail) VALUES (?, ?, ?, ?, ?)",
        (time.time(), user, action, finding, detail),
    )


def _day(study: StudyFacts, entered: float) -> str:
    """Day of the study, or of the entry where the header has no date."""
    return study.date or time.strftime("%Y-%m-%d", time.localtime(entered))


def _columns(new: NewFinding, digest: str | None, now: float) -> dict[str, Value]:
    """The row of a finding, by column."""
    row: dict[str, Value] = {
        "time": now,
        "day": _day(new.study, now),
        "origin": new.origin,
        "file_name": new.file_name,
        "failure": new.failure,
        "label": "",
        "decision": "",
        "probability": 0.0,
        "alert": 0,
        "patient_id": new.patient.id,
        "patient_name": new.patient.name,
        "birth_date": new.patient.birth_date,
        "sex": new.patient.sex,
        **{
            {"date": "study_date", "time": "study_time"}.get(name, name): value
            for name, value in msgspec.structs.asdict(new.study).items()
        },
        "image_sha256": new.image_sha256,
        "key": new.key or None,
    }
    if new.spacing_mm:
        row["row_spacing"], row["column_spacing"] = new.spacing_mm
        row["spacing_plane"] = new.spacing_plane
    if new.picture and digest:
        row |= msgspec.structs.asdict(new.picture)
        del row["sha256"]
        row["pixels"] = digest
    if new.finding:
        row |= _answer(new)
    return row


def _answer(new: NewFinding) -> dict[str, Value]:
    try:
        head = msgspec.json.decode(new.finding, type=_Head)
    except msgspec.DecodeError as error:
        raise DataError(f"{new.file_name}: not the JSON of a finding: {error}") from error
    row: dict[str, Value] = {"decision": head.decision}
    row["out_of_distribution"] = head.out_of_distribution
    if head.decision != "reject":  # which is no answer, and has no label
        row |= {
            "label": head.label,
            "probability": head.probabilities[head.label],
            "diameter_mm": _largest_diameter(head.lesions or ()),
            "alert": int(not set(new.alert_labels).isdisjoint(head.label_set)),
        }
    return row


def _largest_diameter(regions: Sequence[_Region]) -> float | None:
    measured = [region for region in regions if region.diameter_mm is not None]
    largest = max(measured, key=lambda region: region.area_px, default=None)
    return largest.diameter_mm if largest else None
