"""Image statistics: the changes that they respond to, and those that they ignore."""

import numpy as np
import pytest

from orthoedge.runtime.image_statistics import STATISTICS_SIZE, image_statistics


@pytest.fixture
def smooth():
    y, x = np.mgrid[0:224, 0:224]
    return np.clip(128 + 90 * np.sin(x / 40) * np.cos(y / 55), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 96, 224, 225, 1024])
@pytest.mark.parametrize("value", [0, 255])
def test_any_square_even_a_blank_one_has_finite_numbers(size, value):
    statistics = image_statistics(np.full((size, size), value, np.uint8))
    assert statistics.shape == (STATISTICS_SIZE,)
    assert statistics.dtype == np.float32
    assert np.isfinite(statistics).all()


def test_fine_detail_is_seen_at_its_own_size_alone(smooth):
    noise = np.random.default_rng(0).choice([-20, 20], smooth.shape)
    noisy = np.clip(smooth.astype(int) + noise, 0, 255).astype(np.uint8)
    change = image_statistics(noisy) - image_statistics(smooth)
    assert change[0] > 3  # log of the finest energy, from rounding alone to 300
    assert abs(change[5]) < 0.1  # what is left after five halvings


def test_edges_along_one_axis_are_told_from_edges_along_both():
    lines = np.zeros((224, 224), np.uint8)
    lines[::8] = 200
    both = lines.copy()
    both[:, ::8] = 200
    assert image_statistics(lines)[7] < -4
    assert image_statistics(both)[7] > -0.5


def test_turning_by_half_swaps_borders_and_changes_no_energy(smooth):
    smooth[:40] //= 3
    statistics, turned = (
        image_statistics(smooth),
        image_statistics(np.ascontiguousarray(smooth[::-1, ::-1])),
    )
    np.testing.assert_allclose(statistics[:6], turned[:6], atol=0.05)  # rounding of halvings
    np.testing.assert_allclose(statistics[-6:-2], turned[-6:-2][[1, 0, 3, 2]], atol=0.01)
