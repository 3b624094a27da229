"""The map's colours as eyes see them: even, ordered, and apart from the line for every eye.

Colour-blind eyes are those of Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), 1291-1298, at
full severity, applied to linear sRGB. Distances are CIE 1976 under D65; 2.3 is just noticeable.
"""

from __future__ import annotations

import numpy as np
import pytest

from orthoedge.runtime.overlay.colormap import LINE, colorize

EYES = {
    "normal": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
SRGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
GREYS = (0, 20, 80, 128, 180, 220, 255)
EVERY_EYE = pytest.mark.parametrize("eye", EYES)
EVERY_GREY = pytest.mark.parametrize("grey", GREYS)


def lab(bgr: np.ndarray, eye: str = "normal") -> np.ndarray:
    """CIELAB (..., 3) of uint8 BGR (..., 3) as an eye sees it."""
    value = np.asarray(bgr, float)[..., ::-1] / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ EYES[eye].T, 0, 1)
    xyz = seen @ SRGB.T / SRGB.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ramp(grey: int, count: int = 256) -> np.ndarray:
    """The map's colours over one grey, from no saliency to the peak, BGR (count, 3)."""
    heat = np.linspace(0, 1, count, dtype=np.float32)[None]
    return colorize(np.full((1, count), grey, np.uint8), heat)[0]


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first - second, axis=-1)


def test_these_are_the_published_values_of_white_and_of_a_red():
    assert lab(np.array([255, 255, 255])) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(np.array([0, 0, 255])) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)


@EVERY_GREY
def test_the_distance_from_the_plain_pixel_follows_the_saliency(grey):
    colours = lab(ramp(grey))
    moved = distance(colours, colours[0])
    assert moved[-1] > 50
    # Rounding to 8 bits is the tolerance: half a step of each channel, up to 1.5 in the dark.
    assert np.abs(moved - moved[-1] * np.linspace(0, 1, 256)).max() < 1.5


@EVERY_GREY
def test_lightness_goes_one_way_and_evenly(grey):
    lightness = lab(ramp(grey))[:, 0]
    line = np.linspace(lightness[0], lightness[-1], 256)
    assert np.abs(lightness - line).max() < 1  # rounding to 8 bits
    steps = np.diff(lightness[::15])
    assert (steps > -0.3).all() or (steps < 0.3).all()


def test_over_soft_tissue_the_peak_is_lighter_for_who_sees_grey_alone():
    for grey in (0, 20, 80):
        lightness = lab(ramp(grey))[:, 0]
        assert lightness[-1] - lightness[0] > 15


@EVERY_EYE
@EVERY_GREY
def test_ten_steps_of_the_map_stay_in_order_and_apart_for_every_eye(eye, grey):
    colours = lab(ramp(grey, 11), eye)
    moved = distance(colours, colours[0])
    assert np.diff(moved).min() > 2.3


@EVERY_EYE
def test_bright_stays_brighter_than_dark_under_the_peak_for_every_eye(eye):
    greys = np.arange(256, dtype=np.uint8)[None]
    lightness = lab(colorize(greys, np.ones((1, 1), np.float32))[0], eye)[:, 0]
    assert np.diff(lightness[::8]).min() > 0
    assert lightness[-1] - lightness[0] > 45


@EVERY_EYE
@EVERY_GREY
def test_the_line_is_apart_from_what_lies_beside_it_for_every_eye(eye, grey):
    around = lab(ramp(grey, 11)[3:8], eye)  # it runs at one half
    line, rim = (lab(np.array(shade), eye) for shade in (LINE, (0, 0, 0)))
    assert distance(line, around).min() > 25
    # In lightness alone, as in grey print: what the line lacks its rim has.
    apart = np.maximum(abs(line[0] - around[:, 0]), abs(rim[0] - around[:, 0]))
    assert apart.min() > 30
    assert line[0] - rim[0] > 50


def test_no_saliency_leaves_every_grey_as_it_was():
    greys = np.arange(256, dtype=np.uint8)[None]
    plain = colorize(greys, np.zeros((1, 1), np.float32))
    np.testing.assert_array_equal(plain, np.repeat(greys[..., None], 3, axis=2))
