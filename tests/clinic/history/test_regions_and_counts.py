"""Findings of a body part by each of its names, and how many were entered since a time."""

import time

import pytest

from orthoedge.clinic.history import History, SearchQuery, StudyFacts
from tests.helpers.history.findings import new_finding


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path)
    yield history
    history.close()


@pytest.mark.parametrize(
    ("region", "parts"),
    [
        ("lower_leg", {"LEG", "TIBIA", "Fibula", "LOWER LEG", "Tibia/Fibula"}),
        ("hand", {"HAND"}),
        ("spine", {"SPINE", "L-SPINE", "CSPINE"}),
        ("neck_spine", {"CSPINE"}),
        ("knee", set()),
        ("leg", {"LEG", "TIBIA", "Fibula", "LOWER LEG", "Tibia/Fibula"}),
    ],
)
def test_a_region_is_searched_by_each_name_and_never_in_other_words(history, region, parts):
    every = ("LEG", "TIBIA", "Fibula", "LOWER LEG", "Tibia/Fibula", "HAND", "WRIST", "SHOULDER")
    for part in (*every, "SPINE", "L-SPINE", "CSPINE", "", "SPECIMEN"):
        history.add(new_finding("Chandra, Allegra", study=StudyFacts(body_part=part)))
    found = history.search(SearchQuery(region=region))
    assert {summary.body_part for summary in found} == parts
    named = history.search(SearchQuery(region=region, text="chandra"))
    assert named == found


def test_a_finding_names_its_region(history):
    history.add(new_finding(study=StudyFacts(body_part="TIBIA")))
    history.add(new_finding(study=StudyFacts(body_part="SPECIMEN")))
    assert [summary.region for summary in history.search(SearchQuery())] == ["", "lower_leg"]


def test_what_was_entered_since_a_time_is_counted_without_what_could_not_be_read(history):
    history.add(new_finding(decision="refer"))
    middle = time.time()
    alert = ["fracture", "tumor-malignant"]
    history.add(new_finding(decision="report"))
    history.add(new_finding(decision="refer"))
    history.add(new_finding(decision="reject", label_set=alert))
    history.add(new_finding(decision="report", label="tumor-malignant", label_set=alert[1:]))
    history.add(new_finding(finding=b"", failure="empty file", picture=None))
    for since, findings, urgent in ((0, 5, 3), (middle, 4, 2), (time.time() + 9, 0, 0)):
        counts = history.count_since(since)
        assert (counts.findings, counts.urgent) == (findings, urgent)
