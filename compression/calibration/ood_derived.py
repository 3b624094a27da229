"""Pictures made from radiographs that must not be read as radiographs.

Negatives, photographs of films and screens, and radiographs as a small part of a page or a screen.
They hold real bones, so nothing but the change itself separates them from the training images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from orthoedge.compression.calibration.drawing import (
    Floats,
    Rng,
    blurred,
    noise_field,
    random_words,
    to_pixels,
)
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.appearance import as_jpeg

_SIDE = 384  # of a photograph or a page, in pixels


def derive_outliers(
    radiographs: Sequence[Pixels], preprocess: Preprocess, count: int, seed: int
) -> Pixels:
    """Derive uint8 (count, S, S) from radiographs, cycling through them and through the kinds.

    Each picture depends on the seed, its index and its radiograph alone.

    Args:
        radiographs: uint8 (H, W) of any sizes, without CLAHE.
        preprocess: the runtime's own preprocessing.
        count: number of pictures.
        seed: of their random numbers.
    """
    return np.stack(
        [
            preprocess(
                _KINDS[place % len(_KINDS)](
                    np.random.default_rng([seed, place]), radiographs[place % len(radiographs)]
                )
            )
            for place in range(count)
        ]
    )


def _negative(rng: Rng, radiograph: Pixels) -> Pixels:
    """Bone dark on bright, of some contrast; a rim of either colour may stay around it."""
    grey = (1 - radiograph / 255.0) ** np.exp(rng.normal(0, 0.3))
    negative = to_pixels(rng.uniform(0, 40) + grey * rng.uniform(170, 215))
    if rng.uniform() < 0.4:
        return negative
    return _in_a_rim(rng, negative, int(rng.choice([0, 255])))


def _in_a_rim(rng: Rng, picture: Pixels, value: int) -> Pixels:
    """Turn the picture a little inside a frame of one grey level."""
    height, width = picture.shape
    angle = float(rng.choice([0, rng.normal(0, 4), rng.normal(0, 15)]))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, rng.uniform(0.75, 1))
    framed = cv2.warpAffine(picture, matrix, (width, height), borderValue=value)
    return np.asarray(framed, np.uint8)


def _photograph(rng: Rng, radiograph: Pixels) -> Pixels:
    """A film on a lightbox or a desk, or a screen, from a camera that is not straight before it."""
    height, width = (int(v) for v in _SIDE * rng.uniform(0.7, 1, 2))
    shown = radiograph * rng.uniform(0.5, 0.95) + rng.uniform(0, 40)
    if rng.uniform() < 0.5:
        edge = (int(rng.uniform(0, 0.08) * max(shown.shape)),) * 4
        value = rng.uniform(0, 255)
        framed = cv2.copyMakeBorder(shown, *edge, cv2.BORDER_CONSTANT, value=value)
        shown = np.asarray(framed, np.float64)
    surroundings = np.clip(rng.normal(rng.choice([30, 120, 215]), 25), 0, 250)
    scene = surroundings + _stretched_field(rng, height, width) * rng.uniform(0, 30)
    rows, columns = shown.shape
    share = rng.uniform(0.5, 1.1)
    scale = min(height / rows, width / columns) * share
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * [columns, rows] * scale
    turn = rng.normal(0, 0.12)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = corners * (1 + rng.normal(0, 0.09, (4, 2))) @ spin
    corners += [width / 2, height / 2] + rng.normal(0, 0.04, 2) * [width, height]
    edges = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
    matrix = cv2.getPerspectiveTransform(edges, corners.astype(np.float32))
    inside = cv2.warpPerspective(np.ones((rows, columns)), matrix, (width, height))
    laid = cv2.warpPerspective(shown, matrix, (width, height), flags=cv2.INTER_LINEAR)
    values = scene + (laid - scene) * inside
    if share > 0.9 or rng.uniform() < 0.6:  # little else shows it where it fills the picture
        values = values + inside * (values + 20) * _beat(rng, height, width)
    return _camera(rng, values)


def _beat(rng: Rng, height: int, width: int) -> Floats:
    """Moiré of a screen's pixels: crossed or single waves, bent by the camera's lens."""
    y, x = np.mgrid[-1.0 : 1 : height * 1j, -1.0 : 1 : width * 1j]
    bent = 1 + rng.normal(0, 0.1) * (x**2 + y**2)
    waves = np.zeros((height, width))
    for _ in range(int(rng.integers(1, 4))):
        # Finer waves than the picture can hold alias, as a screen's pixels do in a camera.
        angle, often = rng.uniform(0, np.pi), np.exp(rng.uniform(2.5, 7.5))
        waves += np.sin(often * bent * (x * np.cos(angle) + y * np.sin(angle)))
    strength: Floats = waves * rng.uniform(0.04, 0.25)
    return strength


def _camera(rng: Rng, values: Floats) -> Pixels:
    """Reflected lamps and windows, light that falls off, blur, noise and a JPEG."""
    height, width = values.shape
    for _ in range(int(rng.integers(0, 3))):
        lamp = np.zeros((height, width), np.uint8)
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        across, down = (max(3, int(v)) for v in width * rng.uniform(0.02, 0.25, 2))
        if rng.uniform() < 0.5:
            cv2.rectangle(lamp, (x, y), (x + across, y + down), 255, -1)
        else:
            cv2.ellipse(lamp, (x, y), (across, down), 0, 0, 360, 255, -1)
        glare = cv2.GaussianBlur(lamp.astype(np.float64), (0, 0), np.exp(rng.uniform(0, 3.5)))
        values = values + glare * rng.uniform(0.1, 0.8)
    y, x = np.mgrid[-1.0 : 1 : height * 1j, -1.0 : 1 : width * 1j]
    away = np.hypot(x - rng.normal(0, 0.3), y - rng.normal(0, 0.3))
    values = values * (1 - rng.uniform(0, 0.3) * away**2) + x * rng.normal(0, 12)
    values = blurred(values, rng.uniform(0.3, 1.6))
    picture = to_pixels(values + rng.normal(0, rng.uniform(0.5, 6), values.shape))
    return as_jpeg(picture, int(rng.integers(25, 92)))


def _part_of_a_page(rng: Rng, radiograph: Pixels) -> Pixels:
    """One or more radiographs between lines of text, on paper or on a screen with its bars."""
    height, width = (int(v) for v in _SIDE * rng.uniform(0.6, 1.4, 2))
    paper, ink = rng.integers(190, 256), rng.integers(0, 90)
    if rng.uniform() < 0.45:
        paper, ink = ink, paper
    page: Pixels = np.full((height, width), paper, np.uint8)
    scale, step = rng.uniform(0.22, 0.45), int(rng.integers(11, 22))
    left = int(rng.uniform(0, 0.7) * width) if rng.uniform() < 0.4 else 6
    for y in range(step, height, step):
        if rng.uniform() < 0.85:
            font = int(rng.integers(0, 2))
            line = random_words(rng) + random_words(rng)
            cv2.putText(page, line, (left, y), font, scale, int(ink), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        grey, thick = int(rng.integers(256)), int(0.12 * rng.uniform(0.3, 1) * height)
        start = (0, 0) if rng.uniform() < 0.7 else (0, height - thick)
        size = (width, thick) if rng.uniform() < 0.6 else (thick, height)
        cv2.rectangle(page, (*start, *size), grey, -1)
    shapes = int(rng.choice([1, 1, 1, 2, 4]))
    for _ in range(shapes):
        share = rng.uniform(0.25, 0.8) / np.sqrt(shapes)
        fit = share * min(height / radiograph.shape[0], width / radiograph.shape[1])
        small = cv2.resize(radiograph, None, fx=fit, fy=fit, interpolation=cv2.INTER_AREA)
        rows, columns = small.shape
        y, x = int(rng.integers(height - rows)), int(rng.integers(width - columns))
        page[y : y + rows, x : x + columns] = small
    return page


def _stretched_field(rng: Rng, height: int, width: int) -> Floats:
    field = noise_field(rng, rng.uniform(0.8, 2.2))
    return np.asarray(cv2.resize(field, (width, height)), np.float64)


_KINDS: tuple[Callable[[Rng, Pixels], Pixels], ...] = (
    _negative,
    _photograph,
    _part_of_a_page,
    _photograph,
    _photograph,
)
