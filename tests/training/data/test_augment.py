"""Augmentation: deterministic, bounded, and only what the recipe asks for."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.training.data.appearance import change_appearance
from orthoedge.training.data.augment import augment, augment_part
from orthoedge.training.recipe import Augment
from orthoedge.training.recipe_file import load_recipe

OFF = Augment(
    flip=False,
    degrees=0,
    translate=0,
    scale=0,
    shear=0,
    brightness=0,
    contrast=0,
    noise=0,
    crop=0,
    zoom=0,
    appearance=0,
    read_size=0,
)


@pytest.fixture
def image() -> np.ndarray:
    """A smooth scene, so that resampling loses little."""
    rng = np.random.default_rng(0)
    field = cv2.GaussianBlur(rng.uniform(0, 255, (96, 96)).astype(np.float32), (0, 0), 4)
    return cv2.normalize(field, None, 40, 200, cv2.NORM_MINMAX).astype(np.uint8)


def test_with_everything_off_the_image_comes_back_byte_for_byte(image):
    assert np.array_equal(augment(image, OFF, np.random.default_rng(1)), image)


def test_the_same_generator_gives_the_same_bytes_and_the_input_is_left_alone(image):
    settings, before = load_recipe("orthovision").augment, image.copy()
    first = [augment(image, settings, rng) for rng in [np.random.default_rng(3)] for _ in range(5)]
    again = [augment(image, settings, rng) for rng in [np.random.default_rng(3)] for _ in range(5)]
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(image, before)
    assert all(a.dtype == np.uint8 and a.shape == image.shape for a in first)


def test_flip_mirrors_half_of_the_images_exactly(image):
    settings = msgspec.structs.replace(OFF, flip=True)
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(200):
        changed = augment(image, settings, rng)
        if np.array_equal(changed, image[:, ::-1]):
            mirrored += 1
        else:
            assert np.array_equal(changed, image)
    assert 70 < mirrored < 130  # 200 fair draws: four standard deviations are 28


def test_rotation_stays_within_its_bound_and_turns_about_the_centre():
    bar = np.zeros((101, 101), np.uint8)
    bar[50, 10:91] = 255
    settings = msgspec.structs.replace(OFF, degrees=15)
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(100):
        turned = augment(bar, settings, rng)
        y, x = np.nonzero(turned > 60)
        angles.append(np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))
        assert abs(x.mean() - 50) < 1
        assert abs(y.mean() - 50) < 1
    assert max(np.abs(angles)) < 15.5  # half a degree: a line of pixels fitted over 80 of them
    assert max(np.abs(angles)) > 12


def test_noise_has_the_strength_that_was_asked_for(image):
    settings = msgspec.structs.replace(OFF, noise=0.02)
    rng = np.random.default_rng(0)
    spread = [float((augment(image, settings, rng) - image.astype(float)).std()) for _ in range(60)]
    assert max(spread) < 0.02 * 255 * 1.1  # rounding to grey levels adds a little
    assert max(spread) > 0.02 * 255 * 0.85


def test_grey_changes_keep_the_order_of_grey_levels(image):
    settings = msgspec.structs.replace(OFF, brightness=0.2, contrast=0.3)
    rng = np.random.default_rng(0)
    order = np.argsort(image, axis=None, kind="stable")
    for _ in range(20):
        assert (np.diff(augment(image, settings, rng).ravel()[order].astype(int)) >= 0).all()


def test_a_part_is_shown_at_the_size_of_the_whole_and_its_matrix_says_where(image):
    cv2.circle(image, (60, 30), 3, 255, -1)
    settings = load_recipe("orthovision").augment
    for seed in range(20):
        view = augment_part(image, settings, np.random.default_rng(seed), (40, 10, 40), 120)
        assert view.pixels.shape == (120, 120)
        x, y = view.matrix @ (60, 30, 1)
        brightest = np.unravel_index(cv2.blur(view.pixels, (9, 9)).argmax(), (120, 120))
        assert np.hypot(brightest[1] - x, brightest[0] - y) < 4  # pixels; the disc has radius 9


def test_appearance_changes_grey_levels_and_the_rim_but_moves_nothing(image):
    cv2.rectangle(image, (40, 40), (56, 56), 255, -1)
    changed = 0
    for seed in range(60):
        view = change_appearance(image, 1.0, np.random.default_rng(seed))
        assert view.dtype == np.uint8
        assert view.shape == image.shape
        changed += not np.array_equal(view, image)
        inner, before = view[16:80, 16:80], image[16:80, 16:80]
        assert np.corrcoef(inner.ravel(), before.ravel())[0, 1] > 0.8
        assert np.array_equal(view, change_appearance(image, 1.0, np.random.default_rng(seed)))
    assert changed == 60
    assert np.array_equal(change_appearance(image, 0.0, np.random.default_rng(1)), image)
