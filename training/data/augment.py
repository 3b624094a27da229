"""Random changes of a training image, all on uint8 and cheap enough for one background thread."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.recipe import Augment

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

_POOL = 1 << 20
# Drawing a normal number per pixel costs more than everything else here. A pool that is drawn once
# and read from a random offset costs a copy, and makes no difference to the network.
_NOISE: npt.NDArray[np.float32] = np.random.default_rng(0).standard_normal(_POOL, np.float32)


class View(NamedTuple):
    """A training image made from part of a stored one."""

    pixels: Pixels
    """uint8 (S, S)."""
    matrix: Matrix
    """From stored pixels (x, y, 1) to those of the view, float64 (2, 3)."""


def augment(image: Pixels, settings: Augment, rng: np.random.Generator) -> Pixels:
    """Return a changed copy of uint8 (S, S); see `augment_part`."""
    return augment_part(image, settings, rng, (0, 0, len(image)), len(image)).pixels


def augment_part(
    image: Pixels,
    settings: Augment,
    rng: np.random.Generator,
    part: tuple[int, int, int],
    size: int,
) -> View:
    """Show a changed square part of an image; areas from outside are black, like the padding.

    The same generator state gives the same bytes. Every call draws the same number of values, so
    switching one change off does not alter the others.

    Args:
        image: uint8 (R, R).
        settings: largest changes.
        rng: draws them.
        part: left, top and side of the square, in pixels.
        size: side S of the view.
    """
    draws = rng.uniform(-1, 1, 9)
    offset = int(rng.integers(_POOL - size**2)) if size**2 < _POOL else 0
    matrix = _joined(_matrix(size, settings, draws[:6]), _enlargement(part, size))
    view: Pixels = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)  # type: ignore[assignment]
    view = _grey(view, settings.brightness * draws[6], 1 + settings.contrast * draws[7])
    sigma = settings.noise * 255 * abs(draws[8])
    if sigma > 0:
        noise = np.resize(_NOISE[offset : offset + view.size], view.shape)
        view = cv2.addWeighted(view, 1.0, noise, float(sigma), 0.0, dtype=cv2.CV_8U)  # type: ignore[assignment]
    return View(view, matrix)


def _enlargement(part: tuple[int, int, int], size: int) -> Matrix:
    """Map a square to the whole view; pixel centres lie at whole numbers."""
    x, y, side = part
    scale = size / side
    middle = (scale - 1) / 2
    return np.array([[scale, 0.0, middle - scale * x], [0.0, scale, middle - scale * y]])


def _joined(after: Matrix, first: Matrix) -> Matrix:
    """Combine two maps, float64 (2, 3) each."""
    return np.asarray(after @ np.vstack([first, [0.0, 0.0, 1.0]]), np.float64)


def _matrix(size: int, settings: Augment, draws: npt.NDArray[np.float64]) -> Matrix:
    """Combine flip, shear, rotation, scale and shift about the centre in one 2×3 matrix."""
    angle = math.radians(settings.degrees * draws[0])
    scale = 1 + settings.scale * draws[1]
    shear = math.tan(math.radians(settings.shear * draws[2]))
    mirror = -1.0 if settings.flip and draws[5] < 0 else 1.0
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[mirror, shear], [0.0, 1.0]])
    centre = np.full(2, (size - 1) / 2)
    shift = settings.translate * size * draws[3:5]
    return np.column_stack([linear, centre - linear @ centre + shift])


def _grey(image: Pixels, brightness: float, contrast: float) -> Pixels:
    """Change contrast about the image's mean, then brightness, with one table of 256 entries."""
    if brightness == 0 and contrast == 1:
        return image
    mean = cv2.mean(image)[0]
    table = (np.arange(256) - mean) * contrast + mean + 255 * brightness
    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))  # type: ignore[return-value]
