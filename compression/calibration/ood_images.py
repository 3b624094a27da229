"""Random pictures that are not radiographs, on which the out-of-distribution score is fitted.

Shapes that hide each other, filtered noise and simple things made of both have much of the
structure of natural pictures (Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021),
and need no download. They do not have to be realistic, only many and diverse: without half of the
kinds the score does visibly worse on pictures of all kinds.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.preprocess import Preprocess

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator
_SIDE = 256


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
        shape = (round(_SIDE * min(1, stretch)), round(_SIDE / max(1, stretch)))
        picture = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return picture


def _noise(rng: Rng) -> Pixels:
    values = _field(rng, rng.uniform(0, 2.5) * (rng.uniform() < 0.7), np.exp(rng.normal(0, 0.5)))
    how, cut = int(rng.integers(4)), rng.uniform(0.3, 2)
    if how == 1:
        values = np.abs(values) * 1.5 - 1
    elif how == 2:
        values = np.exp(values * 0.6) - 1
    elif how == 3:  # salt and pepper, or blots where the noise is smooth
        values = 3 * np.sign(values) * (np.abs(values) > cut)
    return _bytes(rng.uniform(30, 220) + values * rng.uniform(4, 70))


def _leaves(rng: Rng) -> Pixels:
    """Dead leaves: occluding shapes of all sizes (Lee, Mumford and Huang, IJCV 41, 2001)."""
    small, large = rng.uniform(2, 25), rng.uniform(40, 160)
    count = int(np.exp(rng.uniform(2.5, 7)))
    picture: Pixels = np.full((_SIDE, _SIDE), rng.integers(256), np.uint8)
    dark, bright = int(rng.integers(0, 100)), int(rng.integers(130, 256))
    for radius in 1 / np.sqrt(rng.uniform(1 / large**2, 1 / small**2, count)):
        _shape(rng, picture, radius, int(rng.integers(dark, bright)))
    values = picture + _field(rng, rng.uniform(0.3, 1.6)) * rng.uniform(0, 15)
    return _bytes(_blur(values, rng.uniform(0.2, 2)))


def _objects(rng: Rng) -> Pixels:
    """A few shaded and textured objects on a background, as in a photograph."""
    values = rng.uniform(20, 230) + _field(rng, rng.uniform(1, 2.5)) * rng.uniform(2, 30)
    if rng.uniform() < 0.5:
        values = values + np.linspace(-1, 1, _SIDE)[:, None] * rng.uniform(-60, 60)
    for _ in range(int(rng.integers(1, 12))):
        mask: Pixels = np.zeros((_SIDE, _SIDE), np.uint8)
        _shape(rng, mask, rng.uniform(15, 130), 255)
        x, y = _grid(rng)
        depth = np.sqrt(cv2.distanceTransform(mask, cv2.DIST_L2, 3).astype(np.float64))
        shade = rng.uniform(10, 240) + x * rng.uniform(0, 90) + depth * rng.uniform(-6, 6)
        shade += _field(rng, rng.uniform(0.3, 2)) * rng.uniform(0, 25)
        if rng.uniform() < 0.3:
            shade += np.sign(np.sin(rng.uniform(5, 60) * y)) * rng.uniform(10, 60)
        values = np.where(mask > 127, shade, values)
    return _bytes(_blur(values, rng.uniform(0.4, 1.5)))


def _page(rng: Rng) -> Pixels:
    """Printed text, dark on bright or bright on dark, clean or scanned."""
    paper, ink = int(rng.integers(170, 256)), int(rng.integers(0, 110))
    if rng.uniform() < 0.35:
        paper, ink = ink // 2, paper
    picture: Pixels = np.full((_SIDE, _SIDE), paper, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        _box(rng, picture, int(rng.integers(256)), -1 if rng.uniform() < 0.6 else 1)
    scale, left, font = rng.uniform(0.18, 0.6), int(rng.integers(0, 40)), int(rng.integers(0, 5))
    for y in range(int(rng.integers(10, 60)), _SIDE, int(rng.uniform(28, 60) * scale) + 1):
        if rng.uniform() < 0.9:
            start = (left + 8 * int(rng.integers(0, 3)), y)
            cv2.putText(picture, _words(rng), start, font, scale, ink, 1, cv2.LINE_AA)
    if rng.uniform() < 0.4:
        turn = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), rng.uniform(-8, 8), 1)
        turned = cv2.warpAffine(picture, turn, (_SIDE, _SIDE), borderValue=int(rng.integers(256)))
        light = 1 + rng.uniform(0, 0.2) * _field(rng, 2.5)
        return _bytes(turned * light + rng.normal(0, 3, light.shape))
    return picture


def _screen(rng: Rng) -> Pixels:
    """Screenshots: windows with text, and curves."""
    picture: Pixels = np.full((_SIDE, _SIDE), rng.integers(256), np.uint8)
    for _ in range(int(rng.integers(3, 16))):
        value = int(rng.integers(256))
        x, y, width = _box(rng, picture, value, -1)
        for line in range(int(rng.integers(0, 7))):
            place = (x + 3, y + 12 + 10 * line)
            words = _words(rng)[: width // 4]
            cv2.putText(picture, words, place, 0, 0.25, 255 - value, 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        ends = np.sort(rng.integers(0, _SIDE, 2))
        across = np.linspace(ends[0], ends[1], 60)
        points = np.stack([across, rng.uniform(40, 220) + np.cumsum(rng.normal(0, 6, 60))], 1)
        value, width = int(rng.integers(256)), int(rng.integers(1, 3))
        cv2.polylines(picture, [points.astype(np.int32)], False, value, width, cv2.LINE_AA)
    return picture


def _section(rng: Rng) -> Pixels:
    """Rings and organs in a body outline, as in CT and MR slices."""
    x, y = _grid(rng)
    a, b = rng.uniform(0.5, 0.95), rng.uniform(0.45, 0.9)
    lobes = np.sin(int(rng.integers(1, 5)) * np.arctan2(y / b, x / a) + rng.uniform(0, 6))
    radius = np.hypot(x / a, y / b) * (1 + rng.uniform(0, 0.08) * lobes)
    tissue = _field(rng, rng.uniform(1, 2)) * rng.uniform(2, 25)
    values = np.zeros_like(x)
    for edge in np.sort(rng.uniform(0.5, 1, int(rng.integers(1, 4))))[::-1]:
        values = np.where(radius < edge, rng.uniform(10, 250), values)
    for _ in range(int(rng.integers(1, 14))):
        (cx, cy), size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.03, 0.3)
        flat = size * rng.uniform(0.4, 1)
        organ = ((x - cx) / size) ** 2 + ((y - cy) / flat) ** 2 < 1
        values = np.where(organ & (radius < 0.95), rng.uniform(0, 255), values)
    noise = rng.normal(0, rng.uniform(1, 9), x.shape)
    return _bytes(_blur(values + tissue * (radius < 1), rng.uniform(0.6, 2)) + noise)


def _echo(rng: Rng) -> Pixels:
    """Speckle in a sector or a strip, as in ultrasound."""
    y, x = np.mgrid[0.0:_SIDE, 0.0:_SIDE]
    apex = rng.uniform(5, 90)
    depth, angle = np.hypot(x - _SIDE / 2, y + apex), np.arctan2(x - _SIDE / 2, y + apex)
    inside = (depth > apex * rng.uniform(1, 1.4)) & (depth < rng.uniform(200, 300))
    inside &= np.abs(angle) < rng.uniform(0.4, 0.9)
    if rng.uniform() < 0.4:
        inside, depth = np.abs(x - _SIDE / 2) < rng.uniform(60, 129), y
    tissue = _field(rng, rng.uniform(1, 2.2), np.exp(rng.normal(0, 0.6)))
    tissue = rng.uniform(40, 130) + tissue * rng.uniform(10, 45)
    if rng.uniform() < 0.5:
        waves = (depth + _field(rng, 2.0) * 10) / rng.uniform(4, 25)
        tissue = tissue * (1 + 0.6 * np.sin(waves))
    wide, high = rng.uniform(0.6, 2.5), rng.uniform(0.5, 1.3)
    speckle = cv2.GaussianBlur(rng.rayleigh(1, x.shape), (0, 0), wide, sigmaY=high)
    faded = tissue * speckle * np.exp(-depth / rng.uniform(200, 900))
    return _bytes(np.where(inside, faded, rng.uniform(0, 20)))


def _pattern(rng: Rng) -> Pixels:
    """Ramps, stripes, rings, stars and chequers."""
    x, y = _grid(rng)
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
    return _bytes(values + rng.normal(0, rng.choice([0, 0, 3, 12]), x.shape))


_KINDS = (_noise, _leaves, _objects, _page, _screen, _section, _echo, _pattern)


def _bytes(values: npt.NDArray[np.floating]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float64)


def _field(rng: Rng, power: float, stretch: float = 1.0) -> Floats:
    """Noise of mean 0 and deviation 1 whose amplitude falls with frequency ** power."""
    down, across = np.fft.fftfreq(_SIDE)[:, None] * stretch, np.fft.rfftfreq(_SIDE) / stretch
    frequency = np.maximum(np.hypot(down, across), 1 / _SIDE)
    spectrum = np.fft.rfft2(rng.normal(size=(_SIDE, _SIDE))) / frequency**power
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum, (_SIDE, _SIDE))
    scaled: Floats = values / values.std()
    return scaled


def _grid(rng: Rng) -> tuple[Floats, Floats]:
    """Coordinates from -1 to 1, rotated by a random angle."""
    y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _shape(rng: Rng, picture: Pixels, radius: float, value: int) -> None:
    """Draw an ellipse, a polygon or a rectangle at a random place."""
    x, y, turn = int(rng.integers(_SIDE)), int(rng.integers(_SIDE)), rng.uniform(0, 2 * np.pi)
    how = int(rng.integers(4))
    if how < 2:
        axes = max(1, int(radius)), max(1, int(radius * rng.uniform(0.2, 1)))
        degrees = float(np.degrees(turn))
        cv2.ellipse(picture, (x, y), axes, degrees, 0, 360, value, -1, cv2.LINE_AA)
        return
    angles = turn + np.array([0, 1, np.pi, np.pi + 1])
    if how == 2:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
    cv2.fillPoly(picture, [corners.astype(np.int32)], value, cv2.LINE_AA)


def _box(rng: Rng, picture: Pixels, value: int, thickness: int) -> tuple[int, int, int]:
    """Draw an upright rectangle and return its left, top and width."""
    x, y = (int(v) for v in rng.integers(-40, 230, 2))
    width, height = (int(v) for v in rng.integers(12, 220, 2))
    cv2.rectangle(picture, (x, y), (x + width, y + height), value, thickness)
    return x, y, width


def _words(rng: Rng) -> str:
    return "".join(rng.choice(list("aeinorstlucmdphgbfvk      "), int(rng.integers(3, 60))))
