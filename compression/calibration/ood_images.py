"""Random pictures that are not radiographs, on which the out-of-distribution score is fitted.

Shapes that hide each other, filtered noise and simple things made of both have much of the
structure of natural pictures (Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021),
and need no download. They do not have to be realistic, only many and diverse: without half of the
kinds the score does visibly worse on pictures of all kinds.
"""

from __future__ import annotations

import cv2
import numpy as np

from orthoedge.compression.calibration.drawing import (
    SIDE,
    Rng,
    blurred,
    noise_field,
    random_box,
    random_shape,
    random_words,
    rotated_grid,
    to_pixels,
)
from orthoedge.compression.calibration.ood_scans import (
    abdomen,
    chest,
    magnetic_resonance,
    section,
    ultrasound,
)
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.preprocess import Preprocess


def draw_outliers(preprocess: Preprocess, count: int, seed: int) -> Pixels:
    """Draw uint8 (count, S, S), cycling through the kinds; half of them are stretched.

    Each picture depends on the seed and its index alone.
    """
    return np.stack([preprocess(_picture(seed, place)) for place in range(count)])


def _picture(seed: int, place: int) -> Pixels:
    rng = np.random.default_rng([seed, place])
    picture = _KINDS[place % len(_KINDS)](rng)
    if rng.uniform() < 0.5:
        stretch = np.exp(rng.uniform(-0.5, 0.5))
        shape = (round(SIDE * min(1, stretch)), round(SIDE / max(1, stretch)))
        picture = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return picture


def _noise(rng: Rng) -> Pixels:
    values = noise_field(
        rng, rng.uniform(0, 2.5) * (rng.uniform() < 0.7), np.exp(rng.normal(0, 0.5))
    )
    how, cut = int(rng.integers(4)), rng.uniform(0.3, 2)
    if how == 1:
        values = np.abs(values) * 1.5 - 1
    elif how == 2:
        values = np.exp(values * 0.6) - 1
    elif how == 3:  # salt and pepper, or blots where the noise is smooth
        values = 3 * np.sign(values) * (np.abs(values) > cut)
    return to_pixels(rng.uniform(30, 220) + values * rng.uniform(4, 70))


def _leaves(rng: Rng) -> Pixels:
    """Dead leaves: occluding shapes of all sizes (Lee, Mumford and Huang, IJCV 41, 2001)."""
    small, large = rng.uniform(2, 25), rng.uniform(40, 160)
    count = int(np.exp(rng.uniform(2.5, 7)))
    picture: Pixels = np.full((SIDE, SIDE), rng.integers(256), np.uint8)
    dark, bright = int(rng.integers(0, 100)), int(rng.integers(130, 256))
    for radius in 1 / np.sqrt(rng.uniform(1 / large**2, 1 / small**2, count)):
        random_shape(rng, picture, radius, int(rng.integers(dark, bright)))
    values = picture + noise_field(rng, rng.uniform(0.3, 1.6)) * rng.uniform(0, 15)
    return to_pixels(blurred(values, rng.uniform(0.2, 2)))


def _objects(rng: Rng) -> Pixels:
    """A few shaded and textured objects on a background, as in a photograph."""
    values = rng.uniform(20, 230) + noise_field(rng, rng.uniform(1, 2.5)) * rng.uniform(2, 30)
    if rng.uniform() < 0.5:
        values = values + np.linspace(-1, 1, SIDE)[:, None] * rng.uniform(-60, 60)
    for _ in range(int(rng.integers(1, 12))):
        mask: Pixels = np.zeros((SIDE, SIDE), np.uint8)
        random_shape(rng, mask, rng.uniform(15, 130), 255)
        x, y = rotated_grid(rng.uniform(0, 2 * np.pi))
        depth = np.sqrt(cv2.distanceTransform(mask, cv2.DIST_L2, 3).astype(np.float64))
        shade = rng.uniform(10, 240) + x * rng.uniform(0, 90) + depth * rng.uniform(-6, 6)
        shade += noise_field(rng, rng.uniform(0.3, 2)) * rng.uniform(0, 25)
        if rng.uniform() < 0.3:
            shade += np.sign(np.sin(rng.uniform(5, 60) * y)) * rng.uniform(10, 60)
        values = np.where(mask > 127, shade, values)
    return to_pixels(blurred(values, rng.uniform(0.4, 1.5)))


def _page(rng: Rng) -> Pixels:
    """Printed text, dark on bright or bright on dark, clean or scanned."""
    paper, ink = int(rng.integers(170, 256)), int(rng.integers(0, 110))
    if rng.uniform() < 0.35:
        paper, ink = ink // 2, paper
    picture: Pixels = np.full((SIDE, SIDE), paper, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        random_box(rng, picture, int(rng.integers(256)), -1 if rng.uniform() < 0.6 else 1)
    scale, left, font = rng.uniform(0.18, 0.6), int(rng.integers(0, 40)), int(rng.integers(0, 5))
    for y in range(int(rng.integers(10, 60)), SIDE, int(rng.uniform(28, 60) * scale) + 1):
        if rng.uniform() < 0.9:
            start = (left + 8 * int(rng.integers(0, 3)), y)
            cv2.putText(picture, random_words(rng), start, font, scale, ink, 1, cv2.LINE_AA)
    if rng.uniform() < 0.4:
        turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-8, 8), 1)
        turned = cv2.warpAffine(picture, turn, (SIDE, SIDE), borderValue=int(rng.integers(256)))
        light = 1 + rng.uniform(0, 0.2) * noise_field(rng, 2.5)
        return to_pixels(turned * light + rng.normal(0, 3, light.shape))
    return picture


def _screen(rng: Rng) -> Pixels:
    """Screenshots: windows with text, and curves."""
    picture: Pixels = np.full((SIDE, SIDE), rng.integers(256), np.uint8)
    for _ in range(int(rng.integers(3, 16))):
        value = int(rng.integers(256))
        x, y, width = random_box(rng, picture, value, -1)
        for line in range(int(rng.integers(0, 7))):
            place = (x + 3, y + 12 + 10 * line)
            words = random_words(rng)[: width // 4]
            cv2.putText(picture, words, place, 0, 0.25, 255 - value, 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        ends = np.sort(rng.integers(0, SIDE, 2))
        across = np.linspace(ends[0], ends[1], 60)
        points = np.stack([across, rng.uniform(40, 220) + np.cumsum(rng.normal(0, 6, 60))], 1)
        value, width = int(rng.integers(256)), int(rng.integers(1, 3))
        cv2.polylines(picture, [points.astype(np.int32)], False, value, width, cv2.LINE_AA)
    return picture


def _pattern(rng: Rng) -> Pixels:
    """Ramps, stripes, rings, stars and chequers."""
    x, y = rotated_grid(rng.uniform(0, 2 * np.pi))
    often = np.exp(rng.uniform(0.5, 4.5))
    away = np.hypot(x - rng.normal(0, 0.4), y - rng.normal(0, 0.4))
    star = np.sin(int(often / 2 + 2) * np.arctan2(y, x))
    chequers = np.sin(often * x) * np.sin(often * y)
    waves = (x, away, np.sin(often * x), np.sin(2 * often * away), star, chequers)
    values = waves[int(rng.integers(len(waves)))]
    if rng.uniform() < 0.5:
        values = np.floor(values * rng.uniform(1, 5))
    values = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    ends = rng.permutation([rng.uniform(0, 100), rng.uniform(130, 255)])
    values = ends[0] + (ends[1] - ends[0]) * values ** np.exp(rng.normal(0, 0.4))
    return to_pixels(values + rng.normal(0, rng.choice([0, 0, 3, 12]), x.shape))


_KINDS = (
    _noise, _leaves, _objects, _page, _screen, section, ultrasound, _pattern, chest, abdomen,
    magnetic_resonance, section,
)  # fmt: skip
