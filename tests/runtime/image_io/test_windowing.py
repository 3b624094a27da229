"""Histograms and look-up tables of large images: as numpy's, and much faster."""

import cv2
import numpy as np
import pytest

from orthoedge.runtime.image_io import windowing


def samples(dtype, shape=(300, 170)):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[::16, ::16], lambda a: a[:0]])
def test_values_are_counted_as_numpy_counts_them(dtype, view):
    image = view(samples(dtype))
    expected = np.bincount(image.ravel(), minlength=np.iinfo(dtype).max + 1)
    np.testing.assert_array_equal(windowing.count_values(image), expected)


def test_more_pixels_than_a_float_can_count_are_counted(monkeypatch):
    """OpenCV's counts are float32; in blocks none of them can pass what float32 holds exactly."""
    monkeypatch.setattr(windowing, "_EXACT", 1000)
    image = samples(np.uint16)
    np.testing.assert_array_equal(
        windowing.count_values(image), np.bincount(image.ravel(), minlength=2**16)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_table_is_applied_as_numpy_does_with_either_opencv(dtype, monkeypatch):
    image = samples(dtype)
    table = np.random.default_rng(1).integers(0, 256, np.iinfo(dtype).max + 1, dtype=np.uint8)
    np.testing.assert_array_equal(windowing.apply_table(image, table), table[image])
    np.testing.assert_array_equal(windowing.apply_table(image[:, ::3], table), table[image[:, ::3]])

    def refuse(*arguments):
        raise cv2.error("no table of 16 bits")

    monkeypatch.setattr(cv2, "LUT", refuse)
    np.testing.assert_array_equal(windowing.apply_table(image, table), table[image])
