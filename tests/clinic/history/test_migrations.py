"""A history of any earlier version is brought to this one, with everything that is in it."""

import hashlib
import sqlite3
import threading

import pytest

from orthoedge.clinic.history import History, Opinion, SearchQuery
from orthoedge.clinic.history.backup import check_history
from orthoedge.clinic.history.database import Database
from orthoedge.clinic.history.schema import MIGRATIONS, REVERSALS
from orthoedge.runtime.errors import ConfigError, DataError
from tests.helpers.history.findings import FUNCTIONS, PIXELS, history_of_version, new_finding


def test_a_new_history_is_of_the_newest_version(tmp_path):
    history = History(tmp_path)
    assert history.database.version == len(MIGRATIONS) == 4
    history.close()


def test_the_findings_of_version_1_are_kept_and_can_be_searched(tmp_path):
    history_of_version(tmp_path, 1, ["Müller, Anna", "Doe, Jane"])
    history = History(tmp_path)
    assert history.database.version == 4
    assert [one.patient_name for one in history.search(SearchQuery(text="mull"))] == [
        "Müller, Anna"
    ]
    history.add(new_finding("Mulligan, Buck"))
    assert len(history.search(SearchQuery(text="mull"))) == 2
    assert history.database.check() == ()
    history.close()


def test_a_migration_that_fails_leaves_the_version_before(tmp_path):
    history_of_version(tmp_path, 1, ["Doe, Jane"])
    broken = (*MIGRATIONS[:1], "CREATE TABLE half (number INTEGER); INSERT INTO nothing VALUES (1)")
    with pytest.raises(OSError, match="nothing"):
        Database(tmp_path / "history.sqlite", broken, "the history", FUNCTIONS)
    with sqlite3.connect(tmp_path / "history.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name='half'").fetchall() == []
    connection.close()
    History(tmp_path).close()


def test_a_history_of_a_newer_program_is_refused_and_left_alone(tmp_path):
    history_of_version(tmp_path, 4)
    with sqlite3.connect(tmp_path / "history.sqlite") as connection:
        connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(DataError, match="of version 9, this program reads 4; install"):
        History(tmp_path)


def test_processes_that_start_together_migrate_once(tmp_path):
    history_of_version(tmp_path, 1, ["Doe, Jane"] * 20)
    failures = []

    def open_it():
        try:
            History(tmp_path).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    history = History(tmp_path)
    assert history.database.read("SELECT count(*) FROM searched") == [(20,)]
    history.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_every_column_of_a_new_history_is_in_one_that_was_brought_to_its_version(tmp_path, version):
    history_of_version(tmp_path / "old", version, ["Doe, Jane"])
    shapes = []
    for name in ("old", "new"):
        history = History(tmp_path / name)
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        shapes.append(history.database.read(query))
        number = history.add(new_finding("Roe, Richard"))
        assert history.get(number).spacing_plane == ""
        assert all(history.get(summary.number) for summary in history.search(SearchQuery()))
        history.close()
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_an_older_program_reads_a_history_that_was_brought_back_with_all_that_is_in_it(
    tmp_path, version
):
    history = History(tmp_path)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    shapes = [history.database.read(query)]
    number = history.add(new_finding("Müller, Anna"), PIXELS)
    history.verdict(number, Opinion(agrees=False, label="tumor-benign", note="no"), "ada")
    before = history.get(number)
    history.downgrade(version, "ada")

    file = tmp_path / "history.sqlite"
    older = Database(file, MIGRATIONS[:version], "the history", FUNCTIONS)
    assert older.read("SELECT patient_name FROM findings") == [("Müller, Anna",)]
    assert older.check() == ()
    older.close()

    history = History(tmp_path)
    shapes.append(history.database.read(query))
    assert shapes[0] == shapes[1]
    assert history.get(number) == before
    assert [one.number for one in history.search(SearchQuery(text="muller"))] == [number]
    assert [(one.user, one.action) for one in history.audit()] == [
        ("ada", "downgraded"),
        ("ada", "opinion"),
    ]
    assert check_history(history) == ()
    history.close()


@pytest.mark.parametrize("version", [0, -1, len(MIGRATIONS) + 1])
def test_a_version_that_there_never_was_changes_nothing(tmp_path, version):
    history = History(tmp_path)
    with pytest.raises(ConfigError, match=f"expected 1 to {len(MIGRATIONS)}, that of this"):
        history.downgrade(version, "ada")
    assert (history.database.version, history.audit()) == (len(MIGRATIONS), [])
    history.close()


def test_every_migration_has_its_reversal():
    assert len(REVERSALS) == len(MIGRATIONS) - 1


def test_the_script_of_a_version_stays_as_it_is():
    # A column that is added to an earlier script is missing in every history that has passed it:
    # it needs a script of its own, at the end.
    digests = [hashlib.sha256(script.encode()).hexdigest()[:16] for script in MIGRATIONS]
    assert digests == [
        "6fbaea3329530df5",
        "1c00b94544a162fd",
        "11b061390ed1b93c",
        "a32b6e7a7c34c52a",
    ]
