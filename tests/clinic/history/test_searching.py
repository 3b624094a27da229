"""A search finds what a look at every finding finds, and looks up those alone that it returns."""

import itertools

import pytest

from orthoedge.clinic.history import History, SearchQuery
from orthoedge.clinic.history.searching import search_condition
from tests.helpers.history.findings import new_finding

TEXTS = ("", "anna", "wr", "wrist muller")
DAYS = (("", ""), ("2026-11-03", ""), ("", "2026-11-05"), ("2026-11-03", "2026-11-05"))
DECISIONS = ("", "report", "refer", "reject", "alert", "failure")
BOUNDS = ((0, 0), (9, 0), (0, 4))
NAMES = ("Muller, Anna", "Mwangi, Joseph", "Muller, Tom")


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    opened = History(tmp_path_factory.mktemp("history"))
    for number in range(12):
        label = "tumor-malignant" if number % 5 == 0 else "fracture"
        decision = ("report", "refer", "reject")[number % 3]
        name, day = NAMES[number % 3], f"2026-11-{number % 7 + 1:02}"
        opened.add(new_finding(name, date=day, decision=decision, label=label))
    yield opened
    opened.close()


def passes(summary, query):
    words = f"{summary.patient_name} wrist".casefold().replace(",", "").split()
    is_found = all(
        any(part in word if len(part) > 2 else word.startswith(part) for word in words)
        for part in query.text.split()
    )
    decided = {"": True, "alert": summary.alert, "failure": False}
    return (
        is_found
        and decided.get(query.decision, summary.decision == query.decision)
        and query.first_day <= summary.study_date <= (query.last_day or "9")
        and (not query.before or summary.number < query.before)
        and summary.number > query.after
    )


@pytest.mark.parametrize("decision", DECISIONS)
def test_every_combination_finds_what_a_look_at_each_finding_finds(history, decision):
    everything = history.search(SearchQuery())
    assert len(everything) == 12
    for text, days, (before, after) in itertools.product(TEXTS, DAYS, BOUNDS):
        query = SearchQuery(
            text=text, first_day=days[0], last_day=days[1], decision=decision, before=before,
            after=after,
        )  # fmt: skip
        assert history.search(query) == [one for one in everything if passes(one, query)], query


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("text", ["", "anna"])
def test_days_and_decision_are_read_from_an_index_alone(history, text, decision):
    for first, last in DAYS:
        query = SearchQuery(text=text, first_day=first, last_day=last, decision=decision)
        _, condition, values = search_condition(query)
        if " IN (" not in condition:
            assert not text or not (first or last or decision)
            continue
        numbers = condition[condition.index("(") + 1 : -1]
        (plan,) = history.database.read(f"EXPLAIN QUERY PLAN {numbers}", values)
        assert "COVERING INDEX" in plan[-1], (numbers, plan)
