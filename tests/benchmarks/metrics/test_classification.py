import numpy as np
import pytest

from orthoedge.benchmarks.metrics.classification import (
    confusion,
    cosine,
    expected_calibration_error,
    macro_f1,
    near_box,
    points_at,
    recalls,
    softmax,
)


@pytest.mark.parametrize("seed", range(5))
def test_confusion_recall_and_macro_f1_equal_scikit_learn(seed):
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    table = confusion(truth, predicted, 4)
    np.testing.assert_array_equal(table, metrics.confusion_matrix(truth, predicted))
    np.testing.assert_allclose(
        recalls(table), metrics.recall_score(truth, predicted, average=None), rtol=1e-12
    )
    assert macro_f1(table) == pytest.approx(
        metrics.f1_score(truth, predicted, average="macro"), rel=1e-12
    )


def test_a_class_without_images_has_no_recall_and_an_f1_of_zero():
    from sklearn import metrics

    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    table = confusion(truth, predicted, 3)
    np.testing.assert_array_equal(recalls(table), [1.0, 0.5, np.nan])
    expected = metrics.f1_score(
        truth, predicted, labels=[0, 1, 2], average="macro", zero_division=0
    )
    assert macro_f1(table) == pytest.approx(expected, rel=1e-12)


def test_softmax_stands_large_logits_and_divides_by_the_temperature():
    logits = np.array([[1000.0, 1000.0], [2.0, 0.0]], np.float32)
    found = softmax(logits, temperature=2.0)
    np.testing.assert_allclose(found[0], [0.5, 0.5])
    np.testing.assert_allclose(found[1, 0], 1 / (1 + np.exp(-1)))


def test_calibration_error_by_hand():
    # Bins of width 1/15. 0.95 (bin 14), two images, one right: |0.95 - 0.5| = 0.45, weight 2/4.
    # 0.55 (bin 8), right: 0.45, weight 1/4. 0.65 (bin 9), wrong: 0.65, weight 1/4.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.65, 0.35]])
    truth = np.array([0, 1, 1, 1])
    expected = 0.45 * 2 / 4 + 0.45 / 4 + 0.65 / 4
    assert expected_calibration_error(probabilities, truth) == pytest.approx(expected)


def test_certainty_falls_into_the_last_bin_and_costs_nothing_when_right():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0.0
    assert expected_calibration_error(np.eye(3), np.array([1, 2, 0])) == 1.0


def peak(row, column):
    saliency = np.zeros((7, 7), np.float32)
    saliency[row, column] = 1.0
    return saliency


CELL = 1 / 7


@pytest.mark.parametrize(
    ("saliency", "box", "hit"),
    [
        (peak(3, 3), (0.4, 0.4, 0.6, 0.6), True),
        (peak(0, 6), (0.9, 0.0, 1.0, 0.1), True),
        (peak(6, 0), (0.9, 0.0, 1.0, 0.1), False),  # rows and columns are not mixed up
        (peak(3, 3), (3.2 * CELL, 3.2 * CELL, 3.3 * CELL, 3.3 * CELL), True),  # inside one cell
        (peak(3, 3), (4.1 * CELL, 3.2 * CELL, 5 * CELL, 3.8 * CELL), False),  # the cell beside
        (np.zeros((7, 7), np.float32), (0.0, 0.0, 1.0, 1.0), False),
    ],
)
def test_pointing_game_by_hand(saliency, box, hit):
    assert points_at(saliency, [box]) is hit


@pytest.mark.parametrize("reach", [None, 1 / 7])
def test_a_finer_map_points_like_a_coarse_one_within_the_same_reach(reach):
    box = (3.2 * CELL, 3.2 * CELL, 3.3 * CELL, 3.3 * CELL)
    fine = np.kron(peak(3, 3), np.eye(2, dtype=np.float32)[::-1])  # its peak: row 6, column 7
    assert points_at(peak(3, 3), [box], reach)
    assert points_at(fine, [box], reach) is (reach is not None)
    assert not points_at(fine, [box], 0.0)
    assert points_at(fine, [(7.4 / 14, 6.4 / 14, 7.6 / 14, 6.6 / 14)], 0.0)


@pytest.mark.parametrize(
    ("point", "reach", "near"),
    [
        ((0.5, 0.5), 0.0, True),
        ((0.39, 0.5), 0.0, False),
        ((0.39, 0.5), 0.04, True),
        ((0.5, 0.35), 0.08, False),  # x and y are not mixed up
        ((0.5, 0.35), 0.12, True),
    ],
)
def test_a_point_is_near_a_box_within_half_the_reach(point, reach, near):
    assert near_box(point, [(0.4, 0.4, 0.6, 0.6)], reach) is near
    assert not near_box(point, [], reach)


def test_pointing_game_takes_any_of_several_boxes_and_none_is_a_miss():
    assert points_at(peak(3, 3), [(0.0, 0.0, 0.1, 0.1), (0.4, 0.4, 0.6, 0.6)])
    assert not points_at(peak(3, 3), [])


def test_cosine_is_one_for_scaled_maps_and_zero_for_an_empty_one():
    first = np.stack([peak(1, 1), peak(1, 1), np.zeros((7, 7), np.float32)])
    second = np.stack([5 * peak(1, 1), peak(2, 2), peak(1, 1)])
    np.testing.assert_allclose(cosine(first, second), [1.0, 0.0, 0.0])
