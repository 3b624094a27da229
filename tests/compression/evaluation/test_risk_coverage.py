"""The printed summary of a bundle's decisions, overall and within each source."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from orthoedge.compression.evaluation.risk_coverage import summary
from orthoedge.runtime.decision import Verdict
from orthoedge.training.data.index import ImageRecord

LABELS = ("fracture", "non-affected")


def finding(probability, decision="report", label_set=LABELS, quantile=0.9):
    probabilities = dict(zip(LABELS, (probability, 1 - probability), strict=True))
    label = max(probabilities, key=probabilities.get)
    verdict = Verdict(label, probabilities, label_set, 0.0, decision, ())
    thresholds = SimpleNamespace(conformal_quantile=quantile)
    return SimpleNamespace(
        verdict=verdict,
        label=label,
        probabilities=probabilities,
        decision=decision,
        thresholds=thresholds,
    )


def record(label, source="one"):
    return ImageRecord(path=Path("x.png"), label=label, patient_id="p", source=source)


def numbers(line):
    words = line.replace(",", "").replace("(", "").split()
    return float(words[-4]), float(words[-3])


@pytest.mark.parametrize(("confidence", "is_calibrated"), [(1.0, True), (3.0, False)])
def test_calibration_of_a_source_stands_beside_what_a_perfect_classifier_would_have(
    confidence, is_calibrated
):
    rng = np.random.default_rng(1)
    true = rng.uniform(0.05, 0.95, 400)
    records = [record(LABELS[int(rng.random() > p)]) for p in true]
    logits = np.log(true / (1 - true)) * confidence
    findings = [finding(float(1 / (1 + np.exp(-z)))) for z in logits]
    error, perfect = numbers(summary(records, findings).splitlines()[-1])
    # Of 400 images the mean error of a perfect classifier has a standard deviation near 0.01.
    assert (abs(error - perfect) < 0.03) == is_calibrated


def test_each_source_has_a_line_of_its_own_with_its_coverage():
    findings = [
        finding(0.9, label_set=("fracture",)),
        finding(0.95, "reject", label_set=("fracture",)),
        finding(0.05, label_set=LABELS, quantile=0.9),
    ]
    records = [record("fracture"), record("non-affected"), record("fracture", "two")]
    one, two = summary(records, findings).splitlines()[-2:]
    assert one.startswith("one: 2 images, 50.0% rejected, label sets 50.0%, without alert labels")
    assert "without alert labels 50.0%" in one
    # The second source's only label set names it for the alert alone: 0.05 is below 1 - 0.9.
    assert two.startswith("two: 1 images, 0.0% rejected, label sets 100.0%")
    assert "without alert labels 0.0%" in two


def test_records_without_a_source_have_no_line():
    text = summary([replace(record("fracture"), source="")], [finding(0.9)])
    assert text.splitlines()[-1] == "label sets that contain the true label: 100.0%"
