"""What is said follows from the calibration, and nothing malignant is dropped in silence."""

import msgspec
import numpy as np
import pytest

from orthoedge.runtime.decision import decide, distribution_distance


def calibrated(bundle, **changes):
    calibration = msgspec.structs.replace(bundle.manifest.calibration["fp32"], temperature=1.0)
    return msgspec.structs.replace(calibration, **changes)


def decision(bundle, probabilities, features=None, **changes):
    logits = np.log(np.asarray(probabilities, np.float32))
    features = np.ones(8, np.float32) if features is None else features
    return decide(logits, features, bundle.manifest, calibrated(bundle, **changes))


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


def test_malignant_stays_in_the_set_from_its_operating_point_on(small_bundle):
    points = {"fracture": 0.9, "non-affected": 0.9, "tumor-malignant": 0.05}
    changes = {"conformal_quantile": 0.4, "operating_points": points}
    kept = decision(small_bundle, [0.93, 0.01, 0.06], **changes)
    assert kept.label_set == ("fracture", "tumor-malignant")
    assert kept.decision == "refer"
    dropped = decision(small_bundle, [0.95, 0.01, 0.04], **changes)
    assert dropped.label_set == ("fracture",)


def test_features_far_from_training_are_referred_then_rejected(small_bundle):
    # mean 1, deviation 2, threshold 3: a shift of d gives (d / 2)² / 3.
    for shift, expected in ((0, "report"), (4, "refer"), (8, "reject")):
        features = np.full(8, 1 + shift, np.float32)
        verdict = decision(small_bundle, [0.98, 0.01, 0.01], features, conformal_quantile=0.4)
        assert verdict.decision == expected
        assert verdict.out_of_distribution == pytest.approx((shift / 2) ** 2 / 3)


def test_temperature_divides_the_logits(small_bundle):
    logits = np.array([2.0, 0.0, -1.0], np.float32)
    calibration = calibrated(small_bundle, temperature=2.0)
    verdict = decide(logits, np.ones(8, np.float32), small_bundle.manifest, calibration)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(list(verdict.probabilities.values()), expected, rtol=1e-6)


def test_huge_logits_do_not_overflow(small_bundle):
    logits = np.array([1e4, -1e4, 0.0], np.float32)
    verdict = decide(
        logits, np.ones(8, np.float32), small_bundle.manifest, calibrated(small_bundle)
    )
    assert verdict.probabilities["fracture"] == 1.0


def test_the_distance_is_in_units_of_the_threshold(small_bundle):
    statistics = small_bundle.manifest.calibration["fp32"].out_of_distribution
    assert distribution_distance(np.ones(8, np.float32), statistics) == 0
