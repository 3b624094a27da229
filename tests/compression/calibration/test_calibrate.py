"""Calibration keeps what it promises, on numbers whose truth is known."""

import numpy as np
import pytest

from orthoedge.benchmarks.metrics.classification import softmax
from orthoedge.compression.calibration.calibrate import (
    calibrate,
    conformal_quantile,
    fit_temperature,
)
from orthoedge.compression.calibration.calibrate import operating_point as point
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError


def test_temperature_undoes_a_known_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    truth = np.array([rng.choice(4, p=p) for p in softmax(logits)])
    # Sampled from softmax(logits), so logits × 3 need a temperature of 3, up to sampling error.
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.1)


def test_conformal_sets_cover_what_they_promise():
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 1.5, (6000, 4)))
    truth = np.array([rng.choice(4, p=p) for p in probabilities])
    quantile = conformal_quantile(probabilities[:3000], truth[:3000], 0.95)
    covered = probabilities[np.arange(3000, 6000), truth[3000:]] >= 1 - quantile
    # Binomial: three standard deviations of 3,000 draws at 0.95, on both halves, is 0.017.
    assert covered.mean() == pytest.approx(0.95, abs=0.017)


def test_too_few_images_for_a_promise_put_every_label_in_the_set():
    assert conformal_quantile(np.array([[0.9, 0.1]] * 10), np.zeros(10, int), 0.95) == 1.0


def test_the_operating_point_is_the_highest_that_keeps_the_sensitivity():
    own = np.arange(1, 101) / 100
    threshold = point(own, 0.95)
    assert np.mean(own >= threshold) >= 0.95
    assert np.mean(own >= threshold + 0.01) < 0.95
    assert point(own[:3], 0.95) == own[0]


@pytest.mark.parametrize(("coverage", "rank"), [(0.9, 90), (0.95, 95), (0.55, 55)])
def test_the_quantile_is_the_score_of_the_rank_that_the_theorem_names(coverage, rank):
    own = np.random.default_rng(3).permutation(np.arange(1, 100) / 100)  # 99 images
    probabilities = np.stack([own, 1 - own], axis=1)
    quantile = conformal_quantile(probabilities, np.zeros(99, int), coverage)
    assert quantile == pytest.approx(rank / 100)


def test_coverage_and_sensitivity_are_those_asked_for():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1.5, (2000, 3)).astype(np.float32)
    truth = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    outputs = Outputs(logits, logits, logits)
    result = calibrate(outputs, truth, ("a", "b", "c"), 0.8, 0.7)
    probabilities = softmax(logits, result.temperature)
    own = probabilities[np.arange(2000), truth]
    assert result.conformal_coverage == 0.8
    # On the calibration part itself both are met with less than one image to spare.
    assert np.mean(own >= 1 - result.conformal_quantile) == pytest.approx(0.8, abs=2 / 2000)
    for c, label in enumerate("abc"):
        kept = own[truth == c] >= result.operating_points[label]
        assert kept.mean() == pytest.approx(0.7, abs=1 / len(kept))


def test_a_label_without_an_image_to_calibrate_on_is_named():
    outputs = Outputs(*[np.zeros((4, 2), np.float32)] * 3)
    with pytest.raises(DataError, match="no image of tumor"):
        calibrate(outputs, np.zeros(4, int), ("healthy", "tumor"), 0.9, 0.9)
