"""Drawn radiographs and settings on which orthoedge-native is compared with Python."""

from typing import NamedTuple

import cv2
import numpy as np

from orthoedge.runtime.preprocess import STANDARD, Preprocess

_BANDS = (12, 32, 100, 300, 700, 1500, 4000)
_OFTEN = (0.1, 0.25, 0.4, 0.22, 0.025, 0.004, 0.001)
# Levels at both sides of a limit of a margin or of the quality.
_LEVELS = (0, 4, 5, 6, 7, 8, 9, 80, 144, 145, 146, 174, 175, 176, 177, 178, 179, 214, 215, 216)
_LEVELS = np.array((*_LEVELS, 248, 249, 250, 251, 255), np.uint8)
_SHARES = (0.02, 0.25, 0.3, 0.85, 0.9, 0.98, 0.99)


class Case(NamedTuple):
    """One radiograph with the settings of its preparation."""

    preprocess: Preprocess
    pixels: np.ndarray
    """uint8 (H, W), in any strides."""


def drawn_case(seed, number):
    """Draw one case; the same for the same seed and number."""
    rng = np.random.default_rng((seed, number))
    band = int(rng.choice(len(_BANDS), p=_OFTEN))
    lowest = 1 if band == 0 else _BANDS[band - 1]
    # One side may be of any smaller band.
    height = int(rng.integers(lowest, _BANDS[band] + 1))
    width = int(rng.integers(1 if rng.random() < 0.1 else lowest, _BANDS[band] + 1))
    if rng.random() < 0.5:
        height, width = width, height
    draw = _CONTENTS[int(rng.integers(len(_CONTENTS)))]
    return Case(_settings(rng), _in_memory(rng, draw(rng, height, width)))


def sweep_case(number):
    """Return a case of every size: sides 32 to 4,000 with a short other side, either way round."""
    side, turned = 32 + number // 2, number % 2
    rng = np.random.default_rng((7, number))
    pixels = _tissue(rng, side, int(rng.integers(32, 65)))
    return Case(STANDARD, pixels.T.copy() if turned else pixels)


SWEEP = 2 * (4000 - 32 + 1)
"""Number of cases of the sweep."""


def _settings(rng):
    if rng.random() < 0.6:
        return STANDARD
    return Preprocess(
        size=int(rng.choice((32, 33, 64, 100, 127, 128, 193, 224, 250, 288, 320, 511))),
        collimated_field=("crop", "keep")[int(rng.random() < 0.3)],
        clahe_stage=("after", "before", "none")[int(rng.integers(3))],
        clahe_clip=float(rng.choice((0.01, 0.4, 1, 2, 3.7, 40))),
        clahe_tiles=int(rng.integers(1, 33)),
    )


def _tissue(rng, height, width):
    """Draw blobs and noise."""
    coarse = rng.integers(20, 170, (8, 8), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    noise = rng.integers(0, 30, (height, width), dtype=np.uint8)
    return np.add(smooth.reshape(height, width), noise, dtype=np.uint8)


def _with_margins(rng, height, width):
    """Draw tissue between margins of a collimator, some of them rotated."""
    pixels = _tissue(rng, height, width)
    for side in np.flatnonzero(rng.random(4) < 0.5):
        view = np.rot90(pixels, side)
        view[: int(rng.uniform(0, 0.45) * len(view))] = rng.choice(_LEVELS)
    if rng.random() < 0.3 and min(height, width) > 2:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-3, 3), 1)
        pixels = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return pixels.reshape(height, width)


def _shares_at_a_limit(rng, height, width):
    """Draw lines of which a share at a limit has a level at a limit."""
    pixels = _tissue(rng, height, width)
    for side in range(4):
        view = np.rot90(pixels, side)
        lines = int(rng.integers(0, 1 + len(view) // 3))
        length = view.shape[1]
        share = round(float(rng.choice(_SHARES)) * length) + int(rng.integers(-1, 2))
        view[:lines, : min(max(share, 0), length)] = rng.choice(_LEVELS)
    return pixels


def _levels_at_a_limit(rng, height, width):
    """Draw areas of levels at a limit, whose shares of the whole are at a limit."""
    share = round(float(rng.choice(_SHARES)) * height * width) + int(rng.integers(-1, 2))
    pixels = np.full(height * width, rng.choice(_LEVELS), np.uint8)
    pixels[: max(share, 0)] = rng.choice(_LEVELS)
    return pixels.reshape(height, width)


def _constant(rng, height, width):
    """Draw one level; sometimes one pixel, or one line, has another."""
    pixels = np.full((height, width), rng.choice(_LEVELS), np.uint8)
    kind = rng.integers(3)
    if kind == 1:
        pixels[rng.integers(height), rng.integers(width)] = rng.choice(_LEVELS)
    elif kind == 2:
        pixels[rng.integers(height)] = rng.choice(_LEVELS)
    return pixels


def _noise(rng, height, width):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def _saturated(rng, height, width):
    """Draw black and white pixels only."""
    return np.where(rng.random((height, width)) < rng.random(), 0, 255).astype(np.uint8)


def _negative(rng, height, width):
    """Draw an inverted radiograph, bright at the rim, near both limits of that decision."""
    pixels = np.full((height, width), rng.integers(120, 200), np.uint8)
    pixels[height // 4 : height - height // 4, width // 4 : width - width // 4] = rng.integers(
        60, 180
    )
    return pixels + rng.integers(0, 5, (height, width), dtype=np.uint8)


_CONTENTS = (
    _tissue,
    _with_margins,
    _with_margins,
    _shares_at_a_limit,
    _levels_at_a_limit,
    _constant,
    _noise,
    _saturated,
    _negative,
)


def _in_memory(rng, pixels):
    """Return the same pixels as a view of other memory: padded, reversed, read only, by columns."""
    height, width = pixels.shape
    kind = rng.integers(8)
    if kind == 0:
        left, right = (int(n) for n in rng.integers(0, 40, 2))
        wide = rng.integers(0, 256, (height, left + width + right), dtype=np.uint8)
        wide[:, left : left + width] = pixels
        return wide[:, left : left + width]
    if kind == 1:
        return pixels[::-1].copy()[::-1]
    if kind == 2:
        tall = np.repeat(pixels, 3, axis=0)
        tall[1::3] = 255 - pixels
        return tall[::3]
    if kind == 3:
        return np.asfortranarray(pixels)
    if kind == 4:
        return pixels[:, ::-1].copy()[:, ::-1]
    if kind == 5:
        pixels.setflags(write=False)
    return pixels
