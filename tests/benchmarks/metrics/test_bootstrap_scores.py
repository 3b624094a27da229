import numpy as np
import pytest

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.benchmarks.metrics.bootstrap import RESAMPLES, interval, mean_intervals
from orthoedge.benchmarks.metrics.bootstrap_scores import (
    Predictions,
    area,
    bootstrap,
    reliability,
    scores,
)


def some_answers(seed, images=150, classes=4):
    """Answers that are often right, of few distinct probabilities, so that AUC has ties."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    logits = np.round(rng.normal(0, 1, (images, classes)) + 1.5 * np.eye(classes)[truth], 1)
    probabilities = measure.softmax(logits)
    return Predictions(
        truth=truth,
        predicted=probabilities.argmax(1),
        probabilities=probabilities,
        loss=-np.log(probabilities[np.arange(images), truth]),
        pointed=np.where(truth > 0, rng.integers(0, 2, images), np.nan),
        in_mask=np.full(images, np.nan),
        in_box=rng.random(images),
    )


def repeated(answers, times):
    """What scikit-learn gives for images that are there `times` times."""
    from sklearn import metrics

    truth, predicted = np.repeat(answers.truth, times), np.repeat(answers.predicted, times)
    probabilities = np.repeat(answers.probabilities, times, axis=0)
    both = {"zero_division": np.nan, "average": None, "labels": range(probabilities.shape[1])}
    return {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "macro_auc": metrics.roc_auc_score(truth, probabilities, multi_class="ovr"),
        "loss": metrics.log_loss(truth, probabilities),
        "precision": metrics.precision_score(truth, predicted, **both),
        "recall": metrics.recall_score(truth, predicted, **both),
        "f1": metrics.f1_score(truth, predicted, **both),
        "specificity": [
            metrics.recall_score(truth != c, predicted != c) for c in range(probabilities.shape[1])
        ],
        "auc": [
            metrics.roc_auc_score(truth == c, probabilities[:, c])
            for c in range(probabilities.shape[1])
        ],
    }


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_every_weighting_equal_scikit_learn_on_repeated_images(seed):
    answers = some_answers(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(answers.truth)))
    weights[:, :4] = 1  # every class is there
    weights[0] = 1
    found = scores(answers, weights.astype(float))
    for row, times in enumerate(weights):
        for name, expected in repeated(answers, times).items():
            # Sums in another order: rounding alone.
            np.testing.assert_allclose(getattr(found, name)[row], expected, rtol=1e-9)


def test_scores_equal_the_benchmarks_own():
    answers = some_answers(5)
    found = scores(answers, np.ones((1, len(answers.truth))))
    table = measure.confusion(answers.truth, answers.predicted, 4)
    assert found.macro_f1[0] == pytest.approx(measure.macro_f1(table), rel=1e-12)
    np.testing.assert_allclose(found.recall[0], measure.recalls(table), rtol=1e-12)
    error = measure.expected_calibration_error(answers.probabilities, answers.truth)
    assert found.expected_calibration_error[0] == pytest.approx(error, rel=1e-9)
    assert found.pointing_game[0] == pytest.approx(np.nanmean(answers.pointed))
    assert np.isnan(found.energy_in_mask[0])


def test_the_area_needs_both_kinds_and_is_a_half_without_a_difference():
    weights = np.ones((1, 4))
    kinds = np.array([True, False, True, False])
    assert area(np.zeros(4), kinds, weights)[0] == 0.5
    assert np.isnan(area(np.arange(4.0), np.ones(4, bool), weights)[0])


def test_the_bins_add_up_to_the_calibration_error():
    answers = some_answers(6)
    bins = reliability(answers)
    images = len(answers.truth)
    assert sum(b.images for b in bins) == images
    error = sum(b.images / images * abs(b.confidence - b.accuracy) for b in bins if b.images)
    expected = measure.expected_calibration_error(answers.probabilities, answers.truth)
    assert error == pytest.approx(expected, rel=1e-9)
    assert all(b.confidence is None for b in bins if not b.images)


def test_a_score_without_a_meaning_has_no_interval():
    answers = some_answers(2)
    point, drawn = bootstrap(answers, [str(i) for i in range(len(answers.truth))], seed=0)
    assert drawn.recall.shape == (RESAMPLES, 4)
    assert interval(point.energy_in_mask[0], drawn.energy_in_mask) is None
    found = interval(point.macro_auc[0], drawn.macro_auc)
    assert found.low < found.value < found.high


def test_the_mean_of_a_measure_is_drawn_as_the_scores_are():
    answers = some_answers(4)
    groups = [str(i // 3) for i in range(len(answers.truth))]
    point, drawn = bootstrap(answers, groups, seed=2)
    right = (answers.predicted == answers.truth).astype(float)
    both = np.stack([right, answers.pointed, answers.in_mask])
    accuracy, pointed, unknown = mean_intervals(both, groups, answers.truth, seed=2)
    for found, name in ((accuracy, "accuracy"), (pointed, "pointing_game")):
        expected = interval(getattr(point, name)[0], getattr(drawn, name))
        for edge in ("value", "low", "high"):
            assert getattr(found, edge) == pytest.approx(getattr(expected, edge), rel=1e-12)
    assert unknown is None
