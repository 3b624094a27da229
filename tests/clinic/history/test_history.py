"""A finding that was confirmed stays as it was, is found again, and is gone once it is deleted."""

import sqlite3

import pytest

from orthoedge.clinic.history import History, Opinion, PatientFacts, SearchQuery, StudyFacts
from orthoedge.runtime.errors import DataError
from tests.helpers.history.findings import PIXELS, new_finding


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path / "history")
    yield opened
    opened.close()


def found(history, **query):
    return [summary.number for summary in history.search(SearchQuery(**query))]


def test_a_finding_comes_back_with_everything_that_was_entered(history):
    new = new_finding()
    number = history.add(new, PIXELS)
    stored = history.get(number)
    assert stored.finding == new.finding
    assert (stored.patient, stored.study, stored.spacing_mm) == (
        new.patient,
        new.study,
        new.spacing_mm,
    )
    assert (stored.picture.width, stored.picture.bits, stored.picture.window_width) == (16, 12, 200)
    assert history.pixels.read(stored.picture.sha256) == PIXELS
    assert (stored.summary.label, stored.summary.decision) == ("fracture", "report")
    assert stored.summary.probability == pytest.approx(0.9)
    assert history.get(number + 1) is None


def test_a_rejected_radiograph_has_no_label_and_no_alert_in_the_list(history):
    history.add(new_finding(decision="reject", label="tumor-malignant"))
    (summary,) = history.search(SearchQuery())
    assert (summary.label, summary.probability, summary.alert) == ("", 0, False)


def test_an_alert_label_that_cannot_be_ruled_out_is_an_alert(history):
    history.add(new_finding(label_set=["fracture", "tumor-malignant"]))
    history.add(new_finding())
    assert [summary.alert for summary in history.search(SearchQuery())] == [False, True]
    assert found(history, decision="alert") == [1]


def test_the_extent_in_the_list_is_that_of_the_largest_region_that_was_measured(history):
    regions = [
        {"area_px": 10, "diameter_mm": 4.0},
        {"area_px": 90, "diameter_mm": 12.5},
        {"area_px": 99, "diameter_mm": None},
    ]
    history.add(new_finding(lesions=regions))
    history.add(new_finding(lesions=[]))
    history.add(new_finding(lesions=None))
    shown = [summary.diameter_mm for summary in history.search(SearchQuery())]
    assert shown == [None, None, 12.5]


@pytest.mark.parametrize("table", ["findings", "opinions", "audit", "answers"])
def test_nothing_that_was_entered_can_be_changed(history, table):
    column = "finding" if table == "answers" else "time"
    history.verdict(history.add(new_finding()), Opinion(agrees=True), "ada")
    with (
        pytest.raises(DataError, match="never changed"),
        history.database.transaction() as connection,
    ):
        connection.execute(f"UPDATE {table} SET {column} = 0")


def test_the_audit_trail_cannot_be_shortened(history):
    history.note("ada", "looked", 1)
    with (
        pytest.raises(DataError, match="never changed"),
        history.database.transaction() as connection,
    ):
        connection.execute("DELETE FROM audit")


def test_a_second_opinion_is_added_and_counts(history):
    number = history.add(new_finding())
    history.verdict(number, Opinion(agrees=True), "ada")
    history.verdict(number, Opinion(agrees=False, label="tumor-benign", note="cyst"), "ben")
    stored = history.get(number)
    assert [(o.user, o.agrees, o.label) for o in stored.opinions] == [
        ("ada", True, ""),
        ("ben", False, "tumor-benign"),
    ]
    assert stored.summary.opinion == "disagree"
    assert [entry.action for entry in history.audit()] == ["opinion", "opinion"]


def test_no_opinion_is_entered_on_a_finding_that_is_not_there(history):
    with pytest.raises(DataError):
        history.verdict(7, Opinion(agrees=True), "ada")
    assert history.audit() == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("muller", "Müller, Änne"),
        ("ÄNNE", "Müller, Änne"),
        ("ann müll", "Müller, Anne"),
        ("李", "李, 明"),
        ("明", "李, 明"),
        ("عمر", "حسن, عمر"),
        ("o'br", "O'Brien, Pat"),
        ('"ann"', '"Ann" Smith'),
        ("50%", "50% Smith"),
        ("a_c", "a_c"),
    ],
)
def test_a_part_of_a_name_finds_it_in_any_script(history, text, name):
    history.add(new_finding("Other, Person"))
    number = history.add(new_finding(name, patient_id="P2"))
    assert found(history, text=text) == [number]


@pytest.mark.parametrize("text", ["zzz", "%", "_", "*", '"', "a OR b", "NEAR(", "-", "'; --"])
def test_what_means_something_in_a_query_language_is_searched_as_text(history, text):
    history.add(new_finding("Doe, Jane", file_name="IM.dcm", date="20261130"))
    assert found(history, text=text) == []


def test_findings_are_found_by_id_date_file_and_decision(history):
    first = history.add(new_finding(patient_id="A-77", date="2026-01-05", file_name="left.png"))
    second = history.add(new_finding(patient_id="B-78", date="2026-02-05", decision="refer"))
    failed = history.add(new_finding(finding=b"", failure="no image", date="2026-03-05"))
    assert found(history, text="a-77") == [first]
    assert found(history, text="left.p") == [first]
    assert found(history, text="2026-02") == [second]
    assert found(history, first_day="2026-02-01", last_day="2026-02-28") == [second]
    assert found(history, decision="refer") == [second]
    assert found(history, decision="failure") == [failed]
    assert found(history) == [failed, second, first]


def test_a_list_is_read_page_by_page(history):
    numbers = [history.add(new_finding()) for _ in range(5)]
    assert found(history, limit=2) == numbers[:-3:-1]
    assert found(history, limit=2, before=numbers[3]) == [numbers[2], numbers[1]]
    assert found(history, after=numbers[3]) == [numbers[4]]


def test_the_radiographs_of_a_patient_are_in_the_order_of_their_studies(history):
    late = history.add(new_finding(date="2026-11-02"))
    early = history.add(new_finding(date="2026-01-02"))
    history.add(new_finding(date="2026-01-02", birth_date="1999-01-01"))  # the id was given again
    history.add(new_finding(patient_id="", date="2026-01-02"))
    of = PatientFacts("P1", "Doe, Jane", "1970-01-02")
    assert [summary.number for summary in history.of_patient(of)] == [early, late]
    assert history.of_patient(PatientFacts()) == []


def test_a_retry_enters_nothing_twice(history):
    number = history.add(new_finding(key="node:1.2.3"))
    assert history.add(new_finding(key="node:1.2.3")) == number
    assert found(history) == [number]


def test_what_was_deleted_is_nowhere_in_the_folder(history):
    kept = history.add(new_finding("Stays, Here"), PIXELS)
    number = history.add(new_finding("Vanishing, Xaver", patient_id="GONE-1"), PIXELS[::-1])
    digest = history.get(number).picture.sha256
    history.verdict(number, Opinion(agrees=False, note="Vanishing too"), "ada")
    assert history.delete([number], "ada", "asked for") == 1
    assert history.get(number) is None
    assert not history.pixels.has(digest)
    assert found(history, text="vanish") == []
    history.close()
    for file in filter(lambda path: path.is_file(), history.folder.rglob("*")):
        content = file.read_bytes().lower()
        assert b"vanishing" not in content, file
        assert b"gone-1" not in content, file
    again = History(history.folder)
    assert again.audit()[0].action == "deleted"
    assert again.get(kept) is not None
    assert again.add(new_finding()) > number  # a number names one finding for ever
    again.close()


def test_pixels_of_two_findings_stay_until_both_are_deleted(history):
    first, second = (history.add(new_finding(), PIXELS) for _ in range(2))
    digest = history.get(first).picture.sha256
    history.delete([first], "", "")
    assert history.pixels.read(digest) == PIXELS
    history.delete([second], "", "")
    assert not history.pixels.has(digest)


def test_what_is_no_finding_is_not_entered(history):
    with pytest.raises(DataError, match="not the JSON of a finding"):
        history.add(new_finding(finding=b'{"label": 1}'))
    assert found(history) == []


def test_a_full_disk_is_said_and_nothing_is_entered(history):
    number = history.add(new_finding())
    (pages,) = history.database.read("PRAGMA page_count")[0]
    history.database.read(f"PRAGMA max_page_count={pages}")  # as SQLite says it of a full disk

    def fill():
        for _ in range(20):
            history.add(new_finding(file_name="x" * 4000))

    with pytest.raises(OSError, match="the disk is full"):
        fill()
    entered = found(history, limit=200)
    history.database.read("PRAGMA max_page_count=100000")
    history.check_soundness()
    assert history.add(new_finding()) > max(entered)
    assert entered[-1] == number


def test_a_disk_that_is_full_while_pixels_are_written_leaves_no_part_of_them(history, small_files):
    with pytest.raises(OSError), small_files(1000):  # noqa: PT011 - the system's own message
        history.add(new_finding(), bytes(2000))
    assert found(history) == []
    assert [path for path in (history.folder / "pixels").rglob("*") if path.is_file()] == []


def test_two_processes_see_each_others_findings(history):
    other = History(history.folder)
    number = other.add(new_finding())
    assert found(history) == [number]
    other.close()


def test_a_damaged_database_is_an_error_that_names_the_remedy(history):
    for number in range(40):
        history.add(new_finding(file_name=f"{number}" * 500))
    history.close()
    file = history.folder / "history.sqlite"
    data = bytearray(file.read_bytes())
    for at in range(4096 * 3, len(data), 4096):
        data[at : at + 64] = bytes(range(64))
    file.write_bytes(data)
    with pytest.raises(DataError, match="history"):
        History(history.folder).check_soundness()


def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "history.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match=r"history\.sqlite"):
        History(tmp_path)


def test_the_folder_is_readable_by_its_owner_alone(history):
    assert history.folder.stat().st_mode & 0o077 == 0


def test_the_database_is_in_the_mode_in_which_readers_and_a_writer_go_on_together(history):
    assert history.database.read("PRAGMA journal_mode") == [("wal",)]
    assert history.database.read("PRAGMA foreign_keys") == [(1,)]
    with sqlite3.connect(history.folder / "history.sqlite") as other:
        assert other.execute("SELECT count(*) FROM findings").fetchone() == (0,)
    other.close()


def earlier_days(history, new):
    facts = history.earlier(new.patient, new.study, new.image_sha256)
    return [(study.date, study.time, study.body_part) for _, study in facts]


def test_earlier_findings_are_those_of_the_patient_before_with_body_part_and_side(history):
    def enter(date, part="WRIST", time="10:30", sha="a", **given):
        study = StudyFacts(date=date, time=time, body_part=part, laterality="R")
        new = new_finding(study=study, image_sha256=sha, **given)
        history.add(new)
        return new

    enter("2026-03-01", "KNEE", sha="b")
    enter("2026-01-01", sha="c")
    now = enter("2026-05-01", sha="d")
    enter("2026-05-01", time="10:29", sha="e")
    enter("2026-05-01", time="10:31", sha="f")
    enter("2026-06-01", sha="g")
    enter("2026-04-01", sha="h", patient_id="P2")
    enter("2026-04-01", sha="i", birth_date="1999-01-01")
    enter("2026-04-01", sha="j", finding=b"", failure="no image")
    enter("2026-04-01", sha="d")  # the same file under another date
    assert earlier_days(history, now) == [
        ("2026-01-01", "10:30", "WRIST"),
        ("2026-03-01", "10:30", "KNEE"),
        ("2026-05-01", "10:29", "WRIST"),
    ]
    finding, study = history.earlier(now.patient, now.study, now.image_sha256)[0]
    assert (finding, study.laterality) == (now.finding, "R")
    nameless = new_finding(patient_id="")
    history.add(nameless)
    assert earlier_days(history, nameless) == []


def test_numbers_before_a_time_are_those_entered_before_it(history, monkeypatch):
    for seconds in (100.0, 200.0, 300.0):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        history.add(new_finding())
    for seconds, numbers in ((100, []), (100.5, [1]), (300, [1, 2]), (301, [1, 2, 3]), (0, [])):
        assert history.numbers_before(seconds) == numbers
