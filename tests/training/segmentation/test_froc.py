"""Marks, hits and false alarms, counted by hand."""

import numpy as np
import pytest

from orthoedge.training.segmentation.froc import MISSED, FreeResponse, Marks, mark

SIZE = 32


def image(*squares):
    """Logits of -9 with squares (left, top, side, logit)."""
    logits = np.full((SIZE, SIZE), -9, np.float32)
    for x, y, side, logit in squares:
        logits[y : y + side, x : x + side] = logit
    return logits


def lesions(*squares):
    return image(*((x, y, side, 9) for x, y, side in squares)) > 0


def test_a_mark_hits_from_a_tenth_of_the_union_on():
    lesion = lesions((0, 0, 10))
    hit, fewer = image(), image()
    hit[0, :10] = 1.5  # 10 of 100
    assert mark(hit, lesion).lesions.tolist() == [1.5]
    fewer[0, :9] = 1.5  # 9 of 100
    missed = mark(fewer, lesion)
    assert missed.lesions.tolist() == [MISSED]
    assert missed.false_alarms.tolist() == [1.5]


def test_a_mark_is_rated_by_its_highest_logit_and_begins_at_a_tenth():
    logits = image((0, 0, 6, -2), (2, 2, 2, 3), (20, 20, 6, -2.3))
    marks = mark(logits, lesions((0, 0, 6), (20, 20, 6)))
    assert marks.lesions.tolist() == [3, MISSED]  # -2.3 is a probability below 0.1
    assert marks.false_alarms.size == 0


def test_two_marks_on_a_lesion_are_one_hit_and_no_false_alarm():
    logits = image((0, 0, 4, 1), (6, 0, 4, 2), (20, 20, 3, 4))
    marks = mark(logits, lesions((0, 0, 10)))
    assert marks.lesions.tolist() == [2]
    assert marks.false_alarms.tolist() == [4]


def test_regions_that_touch_at_a_corner_are_one_lesion():
    assert len(mark(image(), lesions((0, 0, 4), (4, 4, 4))).lesions) == 1
    assert mark(image(), lesions()).lesions.size == 0


IMAGES = (
    Marks(np.array([5.0, MISSED]), np.array([4.0])),
    Marks(np.array([2.0]), np.array([3.0, 1.0])),
    Marks(np.array([]), np.array([0.5])),
    Marks(np.array([]), np.array([])),
)


def test_sensitivity_is_that_of_the_lowest_threshold_with_so_few_false_alarms():
    response = FreeResponse(IMAGES, np.ones(4, bool))
    (shares,) = response.sensitivity((0.0, 0.25, 0.5, 0.75, 1.0, 9.0), np.ones((1, 4)))
    # Thresholds: above 4, 3, 1, 0.5, then none: of three lesions rated 5, 2 and missed.
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    rates, sensitivity = response.curve()
    assert rates.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert sensitivity.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3])


def test_a_weight_is_as_good_as_an_image_twice():
    rates = (0.2, 0.5, 1.0)
    weighted = FreeResponse(IMAGES, np.ones(4, bool)).sensitivity(rates, np.array([[2.0, 1, 0, 1]]))
    repeated = (IMAGES[0], IMAGES[0], IMAGES[1], IMAGES[3])
    plain = FreeResponse(repeated, np.ones(4, bool)).sensitivity(rates, np.ones((1, 4)))
    np.testing.assert_allclose(weighted, plain)


def test_lesions_that_do_not_count_still_leave_their_false_alarms():
    response = FreeResponse(IMAGES, np.array([False, True, True, True]))
    assert response.lesions == 1
    (shares,) = response.sensitivity((0.25, 0.5), np.ones((1, 4)))
    assert shares.tolist() == [0, 1]
    (none,) = response.sensitivity((0.5,), np.array([[1.0, 0, 0, 0]]))
    assert np.isnan(none).all()
