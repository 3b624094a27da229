"""Decisions follow from the calibration, and alert labels are never dropped silently."""

import msgspec
import numpy as np
import pytest

from orthoedge.runtime.decision import OodScore, decide, threshold_margins
from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.image_quality import QualityIssue
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS

LABELS = ("fracture", "non-affected", "tumor-malignant")


def calibrated(bundle, **changes):
    calibration = msgspec.structs.replace(bundle.manifest.calibration["fp32"], temperature=1.0)
    return msgspec.structs.replace(calibration, **changes)


def decision(bundle, probabilities, ood_score=0.0, issues=(), **changes):
    logits = np.log(np.asarray(probabilities, np.float32))
    return decided(bundle, logits, ood_score, calibrated(bundle, **changes), issues)


def decided(bundle, logits, ood_score, calibration, issues=()):
    manifest = bundle.manifest
    return decide(logits, ood_score, issues, manifest.labels, manifest.alert_labels, calibration)


def test_a_sure_answer_is_reported_without_a_reason(small_bundle):
    verdict = decision(small_bundle, [0.96, 0.03, 0.01], conformal_quantile=0.4)
    assert (verdict.label, verdict.decision, verdict.reasons) == ("fracture", "report", ())
    assert verdict.label_set == ("fracture",)
    assert sum(verdict.probabilities.values()) == pytest.approx(1)


def test_two_plausible_labels_are_referred(small_bundle):
    verdict = decision(small_bundle, [0.55, 0.44, 0.01], conformal_quantile=0.6)
    assert verdict.label_set == ("fracture", "non-affected")
    assert verdict.decision == "refer"
    assert verdict.reasons == ("cannot rule out non-affected",)


def test_an_unsure_top_label_is_referred(small_bundle):
    verdict = decision(small_bundle, [0.5, 0.3, 0.2], conformal_quantile=0.1)
    assert verdict.decision == "refer"
    assert "below the calibrated confidence" in verdict.reasons[-1]


def test_a_top_label_below_its_operating_point_is_referred(small_bundle):
    points = {"fracture": 0.8, "non-affected": 0.1, "tumor-malignant": 0.1}
    changes = {"conformal_quantile": 0.7, "operating_points": points}
    unsure = decision(small_bundle, [0.79, 0.15, 0.06], **changes)
    assert unsure.decision == "refer"
    assert unsure.reasons == ("fracture is below the calibrated confidence",)
    assert decision(small_bundle, [0.81, 0.13, 0.06], **changes).decision == "report"


def test_malignant_stays_in_the_set_from_its_operating_point_on(small_bundle):
    points = {"fracture": 0.9, "non-affected": 0.9, "tumor-malignant": 0.05}
    changes = {"conformal_quantile": 0.4, "operating_points": points}
    kept = decision(small_bundle, [0.93, 0.01, 0.06], **changes)
    assert kept.label_set == ("fracture", "tumor-malignant")
    assert kept.decision == "refer"
    dropped = decision(small_bundle, [0.95, 0.01, 0.04], **changes)
    assert dropped.label_set == ("fracture",)


def test_an_image_far_from_training_is_referred_then_rejected(small_bundle):
    for ood_score, expected in ((-3, "report"), (1, "report"), (1.1, "refer"), (4.1, "reject")):
        verdict = decision(small_bundle, [0.98, 0.01, 0.01], ood_score, conformal_quantile=0.4)
        assert verdict.decision == expected
        assert verdict.out_of_distribution == ood_score
        assert len(verdict.reasons) == (expected != "report")


def test_each_reason_has_an_identifier_that_does_not_depend_on_its_words(small_bundle):
    points = {"fracture": 0.8, "non-affected": 0.1, "tumor-malignant": 0.1}
    changes = {"conformal_quantile": 0.9, "operating_points": points}
    verdict = decision(small_bundle, [0.7, 0.28, 0.02], 1.1, **changes)
    assert [reason.id for reason in verdict.reason_ids] == [
        "label_set",
        "below_confidence",
        "unlike_training",
    ]
    assert verdict.reason_ids[1].values == {"label": "fracture"}
    issues = QualityIssue("too dark", "reject", ReasonId("too_dark", {"mean": 3.0})), *UNNAMED
    verdict = decision(small_bundle, [0.98, 0.01, 0.01], 9.0, issues)
    assert [reason.id for reason in verdict.reason_ids] == ["too_dark", "", "unlike_any_radiograph"]
    assert len(verdict.reasons) == 3


UNNAMED = (QualityIssue("of a program's own", "reject"),)


def test_a_suspicion_refers_and_its_reason_comes_first(small_bundle):
    issues = (QualityIssue("perhaps inverted", "refer"),)
    verdict = decision(small_bundle, [0.5, 0.3, 0.2], 0.0, issues, conformal_quantile=0.1)
    assert verdict.decision == "refer"
    assert verdict.reasons[0] == "perhaps inverted"
    assert "below the calibrated confidence" in verdict.reasons[-1]


def test_a_fault_rejects_and_nothing_else_is_said(small_bundle):
    """Doubts about an answer that is not given would only distract."""
    issues = QualityIssue("perhaps inverted", "refer"), QualityIssue("too dark", "reject")
    verdict = decision(small_bundle, [0.5, 0.3, 0.2], 9.0, issues, conformal_quantile=0.1)
    assert verdict.decision == "reject"
    assert verdict.reasons == (
        "too dark",
        "not like a bone radiograph of the kind it was trained on",
    )
    assert verdict.label == "fracture"


def test_temperature_divides_the_logits(small_bundle):
    logits = np.array([2.0, 0.0, -1.0], np.float32)
    calibration = calibrated(small_bundle, temperature=2.0)
    verdict = decided(small_bundle, logits, 0.0, calibration)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(list(verdict.probabilities.values()), expected, rtol=1e-6)


def test_huge_logits_do_not_overflow(small_bundle):
    logits = np.array([1e4, -1e4, 0.0], np.float32)
    verdict = decided(small_bundle, logits, 0.0, calibrated(small_bundle))
    assert verdict.probabilities["fracture"] == 1.0


def test_the_distance_weighs_features_and_looks_and_their_products(small_bundle):
    statistics = msgspec.structs.replace(
        small_bundle.manifest.calibration["fp32"].out_of_distribution,
        statistics_mean=(2.0,) * STATISTICS_SIZE,
        statistics_std=(0.5,) * STATISTICS_SIZE,
        # The first number, its square, and its product with the second.
        statistics_weights=(
            0.5,
            *(0.0,) * (STATISTICS_SIZE - 1),
            0.25,
            1.0,
            *(0.0,) * (STATISTICS_TERMS - STATISTICS_SIZE - 2),
        ),
        offset=-1.0,
    )
    ood_score = OodScore(statistics)
    features, statistics = np.full(8, 5, np.float32), np.full(STATISTICS_SIZE, 3, np.float32)
    statistics[1] = 1.5
    # Two spreads above the centre and one below it, threshold 3.
    assert ood_score(features, statistics) == pytest.approx(
        (8 * 0.1 * 5 + 0.5 * 2 + 0.25 * 2 * 2 - 2 * 1 - 1) / 3
    )
    statistics[0] = 100  # counts as four spreads
    assert ood_score(features, statistics) == pytest.approx(
        (8 * 0.1 * 5 + 0.5 * 4 + 0.25 * 4 * 4 - 4 * 1 - 1) / 3
    )


def logit(probability):
    return np.log(probability / (1 - probability))


def test_margins_name_every_threshold_and_the_side_of_it(small_bundle):
    changes = {"conformal_quantile": 0.7, "operating_points": dict.fromkeys(LABELS, 0.1)}
    verdict = decision(small_bundle, [0.5, 0.35, 0.15], 3.0, **changes)
    margins = threshold_margins(verdict, calibrated(small_bundle, **changes))
    assert margins == pytest.approx(
        {
            "out of distribution": 2,
            "reject": -1,
            "fracture first": np.log(0.5 / 0.35),
            "non-affected first": -np.log(0.5 / 0.35),
            "tumor-malignant first": np.log(0.15 / 0.5),
            "fracture in the set": logit(0.5) - logit(0.3),
            "non-affected in the set": logit(0.35) - logit(0.3),
            "tumor-malignant in the set": logit(0.15) - logit(0.3),
            "fracture confident": logit(0.5) - logit(0.1),
            "non-affected confident": logit(0.35) - logit(0.1),
            "tumor-malignant confident": logit(0.15) - logit(0.1),
        }
    )


def test_margins_of_certain_labels_and_of_thresholds_at_the_ends_are_finite(small_bundle):
    ends = dict(zip(LABELS, (0.0, 1.0, 1.0), strict=True))
    calibration = calibrated(small_bundle, conformal_quantile=1.0, operating_points=ends)
    verdict = decided(small_bundle, np.array([1000, 0, -1000], np.float32), 0.0, calibration)
    margins = threshold_margins(verdict, calibration)
    assert np.isfinite(list(margins.values())).all()
    assert margins["fracture first"] > 30 > -30 > margins["non-affected confident"]


def test_verdicts_differ_only_where_a_margin_changes_its_sign(small_bundle):
    rng = np.random.default_rng(0)
    calibration = calibrated(small_bundle, conformal_quantile=0.7)
    seen = {}
    for _ in range(500):
        ood_score = float(rng.uniform(-2, 6))
        logits = rng.normal(0, 1, 3).astype(np.float32)
        verdict = decided(small_bundle, logits, ood_score, calibration)
        signs = {k: v >= 0 for k, v in threshold_margins(verdict, calibration).items()}
        outcome = (verdict.label, frozenset(verdict.label_set), verdict.decision)
        assert seen.setdefault(tuple(signs.values()), outcome) == outcome
    assert len(seen) > 20
