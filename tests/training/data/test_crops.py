"""Crops show the lesion, wherever it lies, and say where they are."""

import numpy as np
import pytest

from orthoedge.training.data.crops import boxes_in_crop, place_crop, place_part
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import read_index
from orthoedge.training.recipe_file import load_recipe

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.1, 0.1), (0.45, 0.4, 0.6, 0.55), (0.9, 0.9, 1.0, 1.0)]
)
def test_the_middle_of_a_lesion_is_in_every_crop_around_it(box):
    image = np.zeros((100, 100), np.uint8)
    middle = (box[0] + box[2]) * 50, (box[1] + box[3]) * 50
    for _ in range(50):
        x, y = place_crop(image, [box], 40, RNG)
        assert 0 <= x <= 60
        assert 0 <= y <= 60
        assert x <= middle[0] <= x + 40
        assert y <= middle[1] <= y + 40


def test_a_healthy_crop_prefers_contrast():
    image = np.zeros((100, 100), np.uint8)
    image[:, 50:] = RNG.integers(0, 256, (100, 50), dtype=np.uint8)
    shown = [place_crop(image, [], 30, RNG)[0] for _ in range(200)]
    assert np.mean([x + 30 > 50 for x in shown]) > 0.9


def test_boxes_follow_the_crop():
    assert boxes_in_crop([(0.5, 0.5, 0.75, 1.0)], (50, 40), 50, 100) == ((0.0, 0.2, 0.5, 1.0),)
    assert boxes_in_crop([(0.0, 0.0, 0.1, 0.1)], (50, 40), 50, 100) == ()


def test_a_cropped_set_keeps_labels_and_a_box_for_every_lesion(phantoms):
    recipe = load_recipe("tiny")
    data = RadiographDataset(read_index(phantoms)[:24], recipe.labels, recipe.preprocess)
    crops = data.cropped(32, seed=1)
    assert crops.images.shape == (24, 32, 32)
    assert [bool(boxes) for boxes in crops.boxes] == [bool(boxes) for boxes in data.boxes]
    np.testing.assert_array_equal(crops.labels, data.labels)
    np.testing.assert_array_equal(crops.images, data.cropped(32, seed=1).images)
    assert data.images.shape[1] == recipe.preprocess.size  # the set itself is left as it is


def test_a_part_shows_a_lesion_wholly_enough_or_not_at_all():
    image = np.full((100, 100), 90, np.uint8)
    image[:, ::8] = 60
    box = (0.3, 0.4, 0.5, 0.6)
    kinds = {True: 0, False: 0}
    for _ in range(300):
        part = place_part(image, [box], True, RNG)
        if part is None:
            continue
        x = max(0, min(50, part.x + part.side) - max(30, part.x))
        y = max(0, min(60, part.y + part.side) - max(40, part.y))
        share = x * y / 400
        assert share >= 0.6 if part.lesion else share <= 0.02
        assert 32 <= part.side <= 75
        assert 0 <= part.x <= 100 - part.side
        kinds[part.lesion] += 1
    assert kinds[True] > 140  # six of ten draws, less those without room
    assert kinds[False] > 40


def test_no_part_is_taken_without_the_lesion_where_no_label_would_fit():
    image = np.full((100, 100), 90, np.uint8)
    image[:, ::8] = 60
    parts = [place_part(image, [(0.4, 0.4, 0.5, 0.5)], False, RNG) for _ in range(100)]
    assert all(part is None or part.lesion for part in parts)


def test_a_part_shows_no_mere_background():
    image = np.zeros((100, 100), np.uint8)
    image[:, 60:] = 120
    parts = [place_part(image, [], True, RNG) for _ in range(100)]
    assert all(p is None or image[p.y : p.y + p.side, p.x : p.x + p.side].any() for p in parts)
