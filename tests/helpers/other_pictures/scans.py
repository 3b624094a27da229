"""Slices and ultrasound, drawn from seeds: medical pictures that are no radiographs."""

import cv2
import numpy as np


def smooth_noise(rng, height, width, power):
    """Float (H, W) of mean 0 and deviation 1 whose amplitude falls with frequency ** power."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius = np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / radius**power
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (height, width))
    return field / field.std()


def bytes_of(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def abdomen_ct(rng):
    """An axial slice: an ellipse of soft tissue with organs, spine and ribs on the table."""
    side = int(rng.choice([256, 512]))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    a, b = rng.uniform(0.7, 0.92), rng.uniform(0.5, 0.7)
    body = (x / a) ** 2 + (y / b) ** 2
    picture = np.where(body < 1, rng.uniform(70, 110), 0.0)
    picture += np.where((body < 1) & (body < 0.82), rng.uniform(20, 50), 0)
    for _ in range(int(rng.integers(4, 9))):
        cx, cy, r = rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3), rng.uniform(0.08, 0.3)
        organ = ((x - cx) / r) ** 2 + ((y - cy) / (r * rng.uniform(0.5, 1))) ** 2 < 1
        picture += np.where(organ & (body < 0.75), rng.uniform(-40, 40), 0)
    spine = (x / 0.13) ** 2 + ((y - 0.6 * b) / 0.12) ** 2
    picture = np.where(spine < 1, rng.uniform(190, 250), picture)
    picture = np.where(spine < 0.6, rng.uniform(140, 190), picture)
    for angle in np.linspace(0.3, 2 * np.pi, int(rng.integers(8, 16))):
        rib = np.hypot(x - 0.88 * a * np.cos(angle), y - 0.88 * b * np.sin(angle)) < 0.04
        picture = np.where(rib, 230, picture)
    picture = np.where(np.abs(y - b - 0.06 - 0.05 * x**2) < 0.012, 90, picture)
    return bytes_of(cv2.GaussianBlur(picture, (0, 0), 1) + rng.normal(0, 6, (side, side)))


def ultrasound_fan(rng):
    height, width = int(rng.integers(380, 640)), int(rng.integers(480, 800))
    y, x = np.mgrid[0:height, 0:width].astype(float)
    depth, angle = np.hypot(x - width / 2, y + 60), np.arctan2(x - width / 2, y + 60)
    inside = (depth > 90) & (depth < height) & (np.abs(angle) < rng.uniform(0.5, 0.8))
    tissue = smooth_noise(rng, height, width, 1.2) * 25 + rng.uniform(50, 110)
    speckle = cv2.GaussianBlur(rng.rayleigh(1, (height, width)), (0, 0), 1.2)
    return bytes_of(np.where(inside, tissue * speckle * np.exp(-depth / height / 2), 0))


def head_slice(rng):
    """A slice through a head, as CT (bright skull) or as MR (bright scalp, dark skull)."""
    side = int(rng.choice([256, 512]))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    wave = 1 + 0.02 * np.sin(3 * np.arctan2(y, x) + rng.uniform(0, 6))
    r = np.hypot(x / rng.uniform(0.6, 0.75), y / rng.uniform(0.78, 0.9)) * wave
    brain = rng.uniform(80, 140) + smooth_noise(rng, side, side, 1.6) * rng.uniform(8, 25)
    skull, scalp = (250, 80) if rng.uniform() < 0.5 else (15, 200)
    picture = np.where(r < 1, scalp, 0)
    picture = np.where(r < 0.95, skull, picture)
    picture = np.where(r < 0.86, brain, picture)
    for sign in (-1, 1):
        hole = ((x - sign * 0.1) / 0.07) ** 2 + ((y + 0.05) / 0.25) ** 2 < 1
        picture = np.where(hole, 30, picture)
    return bytes_of(cv2.GaussianBlur(picture, (0, 0), 1) + rng.normal(0, 4, (side, side)))


def linear_ultrasound(rng):
    height, width = int(rng.integers(350, 650)), int(rng.integers(300, 600))
    warp = smooth_noise(rng, height, width, 2.0) * 14
    y = np.arange(height)[:, None] + warp
    layers = 70 + 50 * np.sin(y / rng.uniform(10, 40)) * np.exp(-y / height)
    speckle = cv2.GaussianBlur(rng.rayleigh(0.9, (height, width)), (0, 0), 2.5, sigmaY=0.8)
    return bytes_of(layers * speckle)
