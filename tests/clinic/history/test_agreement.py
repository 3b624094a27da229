"""The figures of agreement are those that can be counted by hand, with Wilson's intervals."""

import csv
import io

import pytest
from scipy.stats import binomtest

from orthoedge.clinic.history import History, Opinion
from orthoedge.clinic.history.agreement import agreement, wilson
from orthoedge.clinic.history.export import opinions_csv
from tests.helpers.history.findings import LABELS, new_finding

ALERTS = ("tumor-malignant",)


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (3, 7), (50, 50), (499, 1000), (0, 30)])
def test_intervals_are_those_of_scipy(count, of):
    share = wilson(count, of)
    interval = binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert (share.low, share.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert share.low <= share.share <= share.high


def test_of_none_there_is_no_share():
    assert wilson(0, 0).share is None


def enter(history, label, truth, agrees=None, **given):
    number = history.add(new_finding(label=label, **given))
    if agrees is None:
        agrees = label == truth
    history.verdict(number, Opinion(agrees, "" if agrees else truth), "ada")


def test_sensitivity_and_specificity_are_counted_against_the_physician(history):
    for _ in range(3):
        enter(history, "fracture", "fracture")
    enter(history, "fracture", "non-affected")
    enter(history, "non-affected", "fracture")
    enter(history, "non-affected", "non-affected")
    enter(history, "non-affected", "", agrees=False)  # no more than that it is wrong
    history.add(new_finding())  # without an opinion
    result = agreement(history, LABELS, ALERTS)
    assert (result.agreement.count, result.agreement.of) == (4, 7)
    assert result.without_reference == 1
    fracture = result.labels[0]
    assert (fracture.sensitivity.count, fracture.sensitivity.of) == (3, 4)
    assert (fracture.specificity.count, fracture.specificity.of) == (1, 2)


def test_the_alert_is_measured_by_what_was_not_ruled_out(history):
    both = {"label_set": ["fracture", "tumor-malignant"]}
    enter(history, "fracture", "tumor-malignant", **both)
    enter(history, "fracture", "tumor-malignant")
    enter(history, "fracture", "fracture", **both)
    enter(history, "fracture", "fracture")
    alert = agreement(history, LABELS, ALERTS).alert
    assert (alert.sensitivity.count, alert.sensitivity.of) == (1, 2)
    assert (alert.specificity.count, alert.specificity.of) == (1, 2)


def test_a_rejected_radiograph_counts_in_no_label(history):
    enter(history, "fracture", "fracture", agrees=True, decision="reject")
    result = agreement(history, LABELS, ALERTS)
    assert result.agreement.of == 1
    assert all(label.sensitivity.of == 0 for label in result.labels)


@pytest.mark.parametrize(
    ("decision", "agrees", "truth", "count"),
    [
        ("report", True, "", 0),
        ("refer", True, "", 0),
        ("reject", True, "", 0),
        ("refer", False, "tumor-benign", 0),
        ("reject", False, "fracture", 0),
        ("refer", False, "", 1),
        ("reject", False, "", 1),
    ],
)
def test_without_reference_are_those_who_disagree_and_do_not_say_what_it_was(
    history, decision, agrees, truth, count
):
    enter(history, "fracture", truth, agrees=agrees, decision=decision)
    assert agreement(history, LABELS, ALERTS).without_reference == count


def test_only_the_last_opinion_counts(history):
    number = history.add(new_finding())
    history.verdict(number, Opinion(agrees=False, label="tumor-benign"), "ada")
    history.verdict(number, Opinion(agrees=True), "ada")
    result = agreement(history, LABELS, ALERTS)
    assert (result.agreement.count, result.agreement.of) == (1, 1)


def test_a_week_has_its_shares_and_its_score(history, monkeypatch):
    monday = 1796000000.0 - 1796000000.0 % 86400
    for day, decision, ood in ((0, "report", 0.2), (1, "refer", 0.4), (8, "reject", 3.0)):
        monkeypatch.setattr("time.time", lambda day=day: monday + day * 86400 * 7 + 43200)
        history.add(new_finding(decision=decision, ood=ood))
    monkeypatch.setattr("time.time", lambda: monday + 43200)
    history.add(new_finding(finding=b"", failure="no image"))
    first, second, last = agreement(history, LABELS, ALERTS).weeks
    assert (first.findings, first.failures, first.referred.count) == (1, 1, 0)
    assert second.referred.share == 1
    assert (last.rejected.share, last.labels, last.out_of_distribution) == (1, {}, 3.0)
    assert first.labels == {"fracture": 1}


def test_the_export_has_every_opinion_and_no_name(history):
    enter(history, "fracture", "tumor-benign")
    history.verdict(1, Opinion(agrees=False, note='=HYPERLINK("x")\nsecond'), "ben")
    text = opinions_csv(history)
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["physician_label"], first["agrees"]) == ("tumor-benign", "0")
    assert second["note"] == '\'=HYPERLINK("x")\nsecond'  # no formula in a spreadsheet
    assert "Doe" not in text
    assert "P1" not in text
