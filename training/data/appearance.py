"""Changes of a training image that hide which collection it comes from.

Collections differ in resolution, compression, sharpness, exposure, frames and markers. Where each
has labels of its own, a network can learn these in place of anatomy. None of the changes moves or
hides more than the rim of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_COARSEST = 0.4  # of the side: below it thin fracture lines are gone
_QUALITY = (30, 90)  # of JPEG
_GAMMA = 1.55  # and its inverse
_RIM = 0.12  # of the side: widest frame
_LETTERS = "LR"


def change_appearance(image: Pixels, often: float, rng: np.random.Generator) -> Pixels:
    """Return uint8 (S, S) with each change made in a share `often` of the calls.

    JPEG, sharpness and frames half as often, markers a quarter: a reader meets them less.
    """
    wanted = rng.random(6) < often * np.array([1, 0.5, 0.5, 1, 0.5, 0.25])
    resolution, sharpness, jpeg, gamma, frame, marker = wanted
    if frame:
        image = _framed(image, rng)
    if marker:
        image = _marked(image, rng)
    if gamma:
        image = _regraded(image, rng)
    if resolution:
        image = _coarsened(image, rng)
    if sharpness:
        image = _sharpened(image, rng)
    if jpeg:
        image = _compressed(image, rng)
    return image


def _coarsened(image: Pixels, rng: np.random.Generator) -> Pixels:
    side = max(2, round(len(image) * rng.uniform(_COARSEST, 1)))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _sharpened(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add or take away what a blur removes."""
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.5)))
    amount = float(rng.uniform(-1, 1))
    return cv2.addWeighted(image, 1 + amount, blurred, -amount, 0)  # type: ignore[return-value]


def _compressed(image: Pixels, rng: np.random.Generator) -> Pixels:
    return as_jpeg(image, int(rng.integers(*_QUALITY)))


def as_jpeg(image: Pixels, quality: int) -> Pixels:
    """Return uint8 (H, W) as it comes back from a JPEG file of that quality, 0 to 100."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]


def _regraded(image: Pixels, rng: np.random.Generator) -> Pixels:
    return with_gamma(image, _GAMMA ** rng.uniform(-1, 1))


def with_gamma(image: Pixels, gamma: float) -> Pixels:
    """Return uint8 (H, W) with each grey level, as a share of 255, raised to `gamma`."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return cv2.LUT(image, table)  # type: ignore[return-value]


def _framed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cover up to a rim on each side with black, or seldom with white."""
    framed, most = image.copy(), int(_RIM * len(image))
    value = 255 if rng.random() < 0.2 else 0
    left, top, right, bottom = (int(width) for width in rng.integers(0, most + 1, 4))
    framed[:top] = framed[len(framed) - bottom :] = value
    framed[:, :left] = framed[:, len(framed) - right :] = value
    return framed


def _marked(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Write a side letter near a corner."""
    marked, side = image.copy(), len(image)
    place = rng.uniform(0.03, 0.12, 2)
    x, y = (value if rng.random() < 0.5 else 0.92 - value for value in place)
    letter = _LETTERS[int(rng.integers(len(_LETTERS)))]
    where, scale = (int(x * side), int((y + 0.08) * side)), side / 300 * rng.uniform(0.6, 1.4)
    cv2.putText(marked, letter, where, cv2.FONT_HERSHEY_SIMPLEX, float(scale), 255, 2)  # type: ignore[call-overload]
    return marked
