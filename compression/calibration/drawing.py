"""Parts of drawn pictures: noise, shapes, boxes and text on a square canvas."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.image_io.windowing import Pixels

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator
SIDE = 256
"""Side of the canvas in pixels."""


def to_pixels(values: npt.NDArray[np.floating]) -> Pixels:
    """Round and clip to uint8."""
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def blurred(values: npt.NDArray[np.floating], sigma: float) -> Floats:
    """Blur by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float64)


def noise_field(rng: Rng, power: float, stretch: float = 1.0) -> Floats:
    """Noise of mean 0 and deviation 1 whose amplitude falls with frequency ** power."""
    down, across = np.fft.fftfreq(SIDE)[:, None] * stretch, np.fft.rfftfreq(SIDE) / stretch
    frequency = np.maximum(np.hypot(down, across), 1 / SIDE)
    spectrum = np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) / frequency**power
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum, (SIDE, SIDE))
    scaled: Floats = values / values.std()
    return scaled


def rotated_grid(angle: float) -> tuple[Floats, Floats]:
    """Coordinates from -1 to 1, rotated by an angle in radians."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def random_shape(rng: Rng, picture: Pixels, radius: float, value: int) -> None:
    """Draw an ellipse, a polygon or a rectangle at a random place."""
    x, y, turn = int(rng.integers(SIDE)), int(rng.integers(SIDE)), rng.uniform(0, 2 * np.pi)
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


def random_box(rng: Rng, picture: Pixels, value: int, thickness: int) -> tuple[int, int, int]:
    """Draw an upright rectangle and return its left, top and width."""
    x, y = (int(v) for v in rng.integers(-40, 230, 2))
    width, height = (int(v) for v in rng.integers(12, 220, 2))
    cv2.rectangle(picture, (x, y), (x + width, y + height), value, thickness)
    return x, y, width


def random_words(rng: Rng) -> str:
    """Letters and spaces that look like a line of text."""
    return "".join(rng.choice(list("aeinorstlucmdphgbfvk      "), int(rng.integers(3, 60))))
