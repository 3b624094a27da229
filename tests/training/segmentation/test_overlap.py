"""Overlap and border distances agree with scikit-learn and with SciPy's search for neighbours."""

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import directed_hausdorff
from sklearn.metrics import f1_score, jaccard_score

from orthoedge.training.segmentation.overlap import border_distances, overlap


def blobs(seed):
    noise = np.random.default_rng(seed).normal(size=(90, 90)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4) > 0.1


def border(mask):
    """Border pixels, found one by one."""
    padded = np.pad(mask, 1)
    points = [
        (y, x)
        for y, x in np.argwhere(mask)
        if not all(padded[y + 1 + v, x + 1 + u] for v, u in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    ]
    return np.array(points, float)


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_are_scikit_learns(seed):
    outline, lesion = blobs(seed), blobs(seed + 10)
    measured = overlap(outline, lesion)
    assert measured.dice == pytest.approx(f1_score(lesion.ravel(), outline.ravel()))
    assert measured.iou == pytest.approx(jaccard_score(lesion.ravel(), outline.ravel()))


@pytest.mark.parametrize("seed", range(3))
def test_border_distances_are_those_of_the_nearest_neighbours(seed):
    outline, lesion = blobs(seed), blobs(seed + 10)
    one, other = border(outline), border(lesion)
    wanted = np.concatenate([cKDTree(other).query(one)[0], cKDTree(one).query(other)[0]])
    measured = overlap(outline, lesion)
    assert measured.surface_distance == pytest.approx(wanted.mean())
    assert measured.hausdorff_95 == pytest.approx(np.quantile(wanted, 0.95))
    farthest = max(directed_hausdorff(one, other)[0], directed_hausdorff(other, one)[0])
    assert border_distances(outline, lesion).max() == pytest.approx(farthest)


def test_a_shift_of_three_pixels_is_three_pixels_at_most():
    lesion = np.zeros((40, 40), bool)
    lesion[10:20, 10:20] = True
    measured = overlap(np.roll(lesion, 3, axis=1), lesion)
    assert 0 < measured.surface_distance < 3
    assert measured.hausdorff_95 == 3
    assert overlap(lesion, lesion)[2:] == (0, 0)


def test_an_empty_side_has_no_distance_and_two_agree():
    empty, lesion = np.zeros((9, 9), bool), np.eye(9, dtype=bool)
    for outline, mask in ((empty, lesion), (lesion, empty)):
        measured = overlap(outline, mask)
        assert (measured.dice, measured.iou) == (0, 0)
        assert np.isnan(measured.surface_distance)
    assert overlap(empty, empty)[:2] == (1, 1)
