"""Random changes of a training image, all on uint8 and cheap enough for one background thread."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.recipe import Augment

Pixels = npt.NDArray[np.uint8]

_POOL = 1 << 20
# Drawing a normal number per pixel costs more than everything else here. A pool that is drawn once
# and read from a random offset costs a copy, and makes no difference to the network.
_NOISE: npt.NDArray[np.float32] = np.random.default_rng(0).standard_normal(_POOL, np.float32)


def augment(image: Pixels, settings: Augment, rng: np.random.Generator) -> Pixels:
    """Return a changed copy of uint8 (S, S); areas from outside are black, like the padding.

    The same generator state gives the same bytes. Every call draws the same number of values, so
    switching one change off does not alter the others.
    """
    draws = rng.uniform(-1, 1, 9)
    offset = int(rng.integers(_POOL - image.size)) if image.size < _POOL else 0
    matrix = _matrix(image.shape[0], settings, draws[:6])
    image = cv2.warpAffine(image, matrix, image.shape, flags=cv2.INTER_LINEAR)  # type: ignore[assignment]
    image = _grey(image, settings.brightness * draws[6], 1 + settings.contrast * draws[7])
    sigma = settings.noise * 255 * abs(draws[8])
    if sigma > 0:
        noise = np.resize(_NOISE[offset : offset + image.size], image.shape)
        image = cv2.addWeighted(image, 1.0, noise, float(sigma), 0.0, dtype=cv2.CV_8U)  # type: ignore[assignment]
    return image


def _matrix(
    size: int, settings: Augment, draws: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
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
