"""Consistent engines pass; a changed decision counts if no value was near a threshold."""

import msgspec
import numpy as np
import pytest

from orthoedge.compression.evaluation.engine_agreement import compare_engines, logit_rmse
from orthoedge.runtime.bundles.manifest import Calibration, OutOfDistribution, Tolerance
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS
from orthoedge.targets.isa_limit import ISA_LIMITS, why_unavailable
from orthoedge.targets.verification import (
    Difference,
    decision_flips,
    tolerated_difference,
    usual_difference,
)

LABELS = ("fracture", "healthy", "tumor")
CALIBRATION = Calibration(
    temperature=1.0,
    conformal_coverage=0.95,
    conformal_quantile=0.7,
    operating_points={"fracture": 0.9, "healthy": 0.9, "tumor": 0.1},
    out_of_distribution=OutOfDistribution(
        features=(1.0,),
        statistics_mean=(0.0,) * STATISTICS_SIZE,
        statistics_std=(1.0,) * STATISTICS_SIZE,
        statistics_weights=(0.0,) * STATISTICS_TERMS,
        offset=0.0,
        threshold=1.0,
        reject=4.0,
    ),
)
STATISTICS = np.zeros((1, STATISTICS_SIZE), np.float32)
NEAR = Difference(log_odds=0.1, ood_score=0.02)


def outputs(probabilities, distance=0.25):
    logits = np.log(np.array([probabilities], np.float32))
    features = np.array([[distance]], np.float32)
    return Outputs(logits, features, features)


def flipped(before, after):
    return decision_flips(before, after, STATISTICS, LABELS, ("tumor",), CALIBRATION, NEAR)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outputs([0.52, 0.47, 0.01]), outputs([0.47, 0.52, 0.01])),  # another label
        (outputs([0.73, 0.25, 0.02]), outputs([0.64, 0.34, 0.02])),  # into the set
        (outputs([0.92, 0.01, 0.07]), outputs([0.86, 0.01, 0.13])),  # into the set, by alert
        (outputs([0.98, 0.01, 0.01], 0.97), outputs([0.98, 0.01, 0.01], 1.03)),  # to be referred
        (outputs([0.98, 0.01, 0.01], 3.90), outputs([0.98, 0.01, 0.01], 4.10)),  # to be rejected
    ],
)
def test_an_answer_that_changes_far_from_its_threshold_is_a_flip(before, after):
    assert flipped(before, after) == 1
    assert flipped(after, before) == 1
    assert flipped(before, before) == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outputs([0.50, 0.49, 0.01]), outputs([0.49, 0.50, 0.01])),
        (outputs([0.69, 0.29, 0.02]), outputs([0.67, 0.31, 0.02])),
        (outputs([0.90, 0.007, 0.093]), outputs([0.86, 0.01, 0.13])),
        (outputs([0.98, 0.01, 0.01], 0.99), outputs([0.98, 0.01, 0.01], 1.03)),
        (outputs([0.98, 0.01, 0.01], 3.99), outputs([0.98, 0.01, 0.01], 4.10)),
    ],
)
def test_an_answer_that_was_near_its_threshold_may_change(before, after):
    assert flipped(before, after) == 0


def test_a_number_near_a_threshold_excuses_no_other_number():
    # Healthy is near the threshold of the set and stays where it is; tumor comes in from afar.
    assert flipped(outputs([0.65, 0.29, 0.06]), outputs([0.59, 0.29, 0.12])) == 1


def test_a_threshold_that_is_crossed_without_a_consequence_is_no_flip():
    # Tumor is the label already: that it passes its conformal threshold too changes nothing there.
    low = msgspec.structs.replace(CALIBRATION, conformal_quantile=0.4)
    before, after = outputs([0.32, 0.12, 0.56], 2.0), outputs([0.25, 0.09, 0.66], 2.0)
    assert decision_flips(before, after, STATISTICS, LABELS, ("tumor",), low, NEAR) == 0


def two_engines(rmse, seed=0):
    """Outputs of 1,000 images, and the same with INT8's usual difference; `rmse` as `logit_rmse`.

    Logits spread as those of the phantom bundle do; its scores differ by a tenth of what its
    log-odds do.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (1000, 3)).astype(np.float32)
    scores = rng.uniform(-1, 5, (1000, 1)).astype(np.float32)
    noise = rng.normal(0, rmse * logits.std(), logits.shape).astype(np.float32)
    drift = rng.normal(0, rmse / 5, scores.shape).astype(np.float32)
    return Outputs(logits, scores, scores), Outputs(logits + noise, scores + drift, scores + drift)


def flips_of(before, after, near=None):
    statistics = np.zeros((len(before.logits), STATISTICS_SIZE), np.float32)
    near = near or usual_difference(before, after, statistics, CALIBRATION)
    return decision_flips(before, after, statistics, LABELS, ("tumor",), CALIBRATION, near)


@pytest.mark.parametrize("rmse", [0.001, 0.013, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_what_engines_usually_differ_by_changes_no_clear_decision(rmse, seed):
    before, after = two_engines(rmse, seed)
    assert logit_rmse(before, after) == pytest.approx(rmse, rel=0.1)
    assert flips_of(before, after) == 0


def test_at_a_difference_of_a_hundredth_decisions_do_change():
    """A narrower margin, like a constant one, counts some of them as clear."""
    before, after = two_engines(0.013)
    assert flips_of(before, after, Difference(log_odds=0, ood_score=0)) > 10
    assert flips_of(before, after, Difference(log_odds=0.04, ood_score=0.02)) >= 3


@pytest.mark.parametrize("images", [1, 3, 20])
def test_an_engine_that_is_wrong_by_much_on_few_images_is_seen(images):
    before, after = two_engines(0.013)
    after.logits[:images] = before.logits[:images].argsort(1).argsort(1)[:, ::-1] * 4
    assert flips_of(before, after) > 0


@pytest.mark.parametrize("images", [50, 500, 1000])
def test_an_engine_that_is_wrong_by_much_on_many_images_shows_in_the_rmse(images):
    before, after = two_engines(0.013)
    after.logits[:images] = before.logits[:images].argsort(1).argsort(1)[:, ::-1] * 4
    assert logit_rmse(before, after) > 0.2  # ten times the limit of the packaged recipes


def test_a_small_network_that_mostly_gives_the_same_codes_is_no_fault():
    """Most images agree exactly and a few jump by a code, as the smallest students do."""
    rng = np.random.default_rng(0)
    before, _ = two_engines(0.0)
    jumps = rng.choice([0, 1, -1], (1000, 3), p=[0.7, 0.15, 0.15]) * np.float32(0.05)
    after = Outputs(before.logits + jumps, before.saliency_map, before.feature_vector)
    assert flips_of(before, after, Difference(log_odds=0, ood_score=0)) > 10
    assert flips_of(before, after) == 0


def test_a_feature_vector_that_is_wrong_on_few_images_is_seen():
    before, after = two_engines(0.013)
    sure = np.array([9.0, 0.0, 0.0], np.float32)
    before.logits[:3], after.logits[:3] = sure, sure
    before.feature_vector[:3], after.feature_vector[:3] = 0.5, 1.5
    assert flips_of(before, after) == 3


def test_the_usual_difference_is_five_standard_deviations():
    before, after = two_engines(0.013)
    statistics = np.zeros((1000, STATISTICS_SIZE), np.float32)
    clean = usual_difference(before, after, statistics, CALIBRATION)
    # Five standard deviations; two logits differ by sqrt(2) more than one does, less where a third
    # label shares the probability.
    sigma = 0.013 * before.logits.std()
    assert 5 * sigma < clean.log_odds < 5 * sigma * 2**0.5
    assert clean.ood_score == pytest.approx(5 * 0.013 / 5, rel=0.1)
    same = usual_difference(before, before, statistics, CALIBRATION)
    assert same == Difference(log_odds=1e-3, ood_score=1e-3)


def test_a_bundles_tolerance_is_the_difference_that_verify_allows():
    before, _ = two_engines(0.013)
    tolerance = Tolerance(logits=0.02, saliency_map=0.1, feature_vector=0.01)
    allowed = tolerated_difference(before, tolerance, CALIBRATION)
    assert allowed.log_odds == pytest.approx(2 * 0.02 * before.logits.std())
    assert allowed.ood_score == pytest.approx(0.01 * before.feature_vector.std())
    rounding = Tolerance(logits=1e-6, saliency_map=1e-6, feature_vector=1e-6)
    assert tolerated_difference(before, rounding, CALIBRATION) == Difference(1e-3, 1e-3)


def test_the_rmse_is_in_standard_deviations_of_the_reference():
    logits = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    before, after = Outputs(logits, logits, logits), Outputs(logits + 0.1, logits, logits)
    assert logit_rmse(before, after) == pytest.approx(0.1 / logits.std(), rel=1e-5)


def test_the_engines_of_this_machine_agree_and_the_others_say_why_not(small_bundle):
    manifest = small_bundle.manifest
    images = np.random.default_rng(1).integers(0, 256, (20, 1, 32, 32), dtype=np.uint8)
    results = compare_engines(
        small_bundle.model("int8"),
        32,
        "int8",
        images,
        manifest.labels,
        manifest.alert_labels,
        manifest.calibration["int8"],
    )
    assert [part.engine for part in results] == [
        "onnxruntime",
        *(f"openvino {c}" for c in ISA_LIMITS),
    ]
    assert [part.skipped for part in results] == ["", *(why_unavailable(cap) for cap in ISA_LIMITS)]
    for part in results:
        assert part.images == (0 if part.skipped else 20)
        # Rounding of float32 sums; an INT8 sum that saturates is off by tenths.
        assert part.logit_rmse < 0.02
        assert part.label_changes == part.decision_flips == 0
        assert (part.near_log_odds is None) == bool(part.skipped)
        assert part.skipped in str(part)
        assert msgspec.json.decode(msgspec.json.encode(part), type=type(part)) == part
