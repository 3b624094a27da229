"""Random medical pictures that are no radiographs of bones: slices, ultrasound, chest, abdomen."""

from __future__ import annotations

import cv2
import numpy as np

from orthoedge.compression.calibration.drawing import (
    SIDE,
    Floats,
    Rng,
    blurred,
    noise_field,
    rotated_grid,
    to_pixels,
)
from orthoedge.runtime.image_io.windowing import Pixels


def section(rng: Rng) -> Pixels:
    """Rings and organs in a body outline, as in CT and MR slices."""
    x, y = rotated_grid(rng.uniform(0, 2 * np.pi))
    a, b = rng.uniform(0.5, 0.95), rng.uniform(0.45, 0.9)
    lobes = np.sin(int(rng.integers(1, 5)) * np.arctan2(y / b, x / a) + rng.uniform(0, 6))
    radius = np.hypot(x / a, y / b) * (1 + rng.uniform(0, 0.08) * lobes)
    tissue = noise_field(rng, rng.uniform(1, 2)) * rng.uniform(2, 25)
    values = np.zeros_like(x)
    for edge in np.sort(rng.uniform(0.5, 1, int(rng.integers(1, 4))))[::-1]:
        values = np.where(radius < edge, rng.uniform(10, 250), values)
    for _ in range(int(rng.integers(1, 14))):
        (cx, cy), size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.03, 0.3)
        flat = size * rng.uniform(0.4, 1)
        organ = ((x - cx) / size) ** 2 + ((y - cy) / flat) ** 2 < 1
        values = np.where(organ & (radius < 0.95), rng.uniform(0, 255), values)
    values = values + tissue * (radius < 1)
    if rng.uniform() < 0.4:  # a wide window: grey air in the circle that was scanned, thin bone
        edge, thick = rng.uniform(0.6, 0.95), rng.uniform(0.01, 0.06)
        values = rng.uniform(30, 130) + values * rng.uniform(0.1, 0.5)
        values = np.where(np.abs(radius - edge) < thick, rng.uniform(200, 250), values)
        values = np.where(np.hypot(x, y) < rng.uniform(0.95, 1.3), values, 0)
    noise = rng.normal(0, rng.uniform(1, 9), x.shape)
    return to_pixels(blurred(values, rng.uniform(0.6, 2)) + noise)


def ultrasound(rng: Rng) -> Pixels:
    """Speckle in a sector or a strip, as in ultrasound."""
    y, x = np.mgrid[0.0:SIDE, 0.0:SIDE]
    apex = rng.uniform(5, 90)
    depth, angle = np.hypot(x - SIDE / 2, y + apex), np.arctan2(x - SIDE / 2, y + apex)
    inside = (depth > apex * rng.uniform(1, 1.4)) & (depth < rng.uniform(200, 300))
    inside &= np.abs(angle) < rng.uniform(0.4, 0.9)
    if rng.uniform() < 0.4:
        inside, depth = np.abs(x - SIDE / 2) < rng.uniform(60, 129), y
    tissue = noise_field(rng, rng.uniform(1, 2.2), np.exp(rng.normal(0, 0.6)))
    tissue = rng.uniform(40, 130) + tissue * rng.uniform(10, 45)
    if rng.uniform() < 0.5:
        waves = (depth + noise_field(rng, 2.0) * 10) / rng.uniform(4, 25)
        tissue = tissue * (1 + 0.6 * np.sin(waves))
    wide, high = rng.uniform(0.6, 2.5), rng.uniform(0.5, 1.3)
    speckle = cv2.GaussianBlur(rng.rayleigh(1, x.shape), (0, 0), wide, sigmaY=high)
    faded = tissue * speckle * np.exp(-depth / rng.uniform(200, 900))
    return to_pixels(np.where(inside, faded, rng.uniform(0, 20)))


def magnetic_resonance(rng: Rng) -> Pixels:
    """Layers of fat, muscle and marrow that touch in dark lines, under the falling light of a coil.

    Across a limb or a trunk, or along it with a row of vertebrae or two bones at a joint.
    """
    x, y = rotated_grid(rng.normal(0, 0.15))
    fat, muscle, marrow = rng.uniform(15, 255), rng.uniform(25, 120), rng.uniform(20, 230)
    wide, bend = rng.uniform(0.45, 1), rng.uniform(-0.2, 0.2)
    across = x - bend * np.sin(rng.uniform(1, 3) * y)
    along = rng.uniform() < 0.6
    radius = np.abs(across) / wide if along else np.hypot(x / wide, y / rng.uniform(0.5, 1))
    skin = rng.uniform(0.6, 0.92)
    lumps = noise_field(rng, rng.uniform(1, 2)) * rng.uniform(2, 25)
    values = np.where(radius < skin, muscle + lumps, fat)
    values = np.where(np.abs(radius - skin) < rng.uniform(0, 0.02), 15, values)
    if not along:
        parts = [(rng.uniform(-0.3, 0.3, 2), rng.uniform(0.06, 0.35)) for _ in range(4)]
        shapes = [np.hypot(x - cx, (y - cy) * rng.uniform(0.7, 1.4)) - r for (cx, cy), r in parts]
    elif rng.uniform() < 0.5:
        often, place = rng.uniform(1.5, 7), rng.uniform(-0.3, 0.3)
        half = np.abs((y * often) % 2 - 1) / often - rng.uniform(0.08, 0.3) / often
        shapes = [np.maximum(np.abs(across - place) - rng.uniform(0.06, 0.16), -half)]
        canal = np.abs(across - place - 0.25) < rng.uniform(0.03, 0.08)
        values = np.where(canal, rng.uniform(20, 255), values)
    else:
        shaft, gap = rng.uniform(0.1, 0.3), rng.uniform(-0.4, 0.4)
        flare = shaft + rng.uniform(0.05, 0.3) * np.exp(-(((y - gap) / 0.25) ** 2))
        shapes = [np.maximum(np.abs(across) - flare, 0.03 - np.abs(y - gap))]
    cortex = rng.uniform(0.005, 0.035)
    for edge in shapes:
        values = np.where(edge < cortex, 12, values)
        values = np.where(edge < 0, marrow + lumps * 0.4, values)
    values = np.where(radius < 1, values, 0)
    light = np.exp(-rng.uniform(0, 1.5) * np.hypot(x - rng.normal(0, 0.6), y - rng.normal(0, 0.6)))
    noise = rng.normal(0, rng.uniform(1, 10), x.shape)
    bright = rng.uniform(0.9, 1.8)
    return to_pixels(np.abs(blurred(values, rng.uniform(0.4, 1.5)) * light * bright + noise))


def chest(rng: Rng) -> Pixels:
    """Dark lungs under ribs on both sides of a bright middle, over two bright domes."""
    x, y = rotated_grid(rng.normal(0, 0.06))
    side = np.abs(x)
    trunk, top = rng.uniform(0.8, 1.1), rng.uniform(-0.9, -0.6)
    neck = rng.uniform(0.15, 0.3)
    body = (side < trunk) & (y > top + 0.4 * np.maximum(side - neck, 0)) | (side < neck)
    values = blurred(body * rng.uniform(90, 170), rng.uniform(2, 6))
    width, low = rng.uniform(0.24, 0.36), rng.uniform(0.45, 0.75)
    centre = rng.uniform(0.38, 0.5)
    dome = low - rng.uniform(0.1, 0.25) * np.cos((side - centre) * 4) + 0.05 * np.sign(x)
    reach = 1 - ((y - low) / (low + rng.uniform(0.6, 0.85))) ** 2
    lung = (side - centre) ** 2 < width**2 * np.maximum(reach, 0)
    lung &= y < dome
    air = rng.uniform(40, 110)
    veins = np.abs(noise_field(rng, rng.uniform(1, 1.6))) * rng.uniform(3, 14)
    values += blurred(np.where(lung, veins - air, 0), rng.uniform(1, 3))
    slope, apart = rng.uniform(0.2, 0.8), rng.uniform(22, 38)
    for sign in (1, -1.5):
        ribs = np.sin(apart * (y + sign * slope * (side - centre) ** 2 - 0.25 * sign * side))
        shown = (side < centre + width * 1.1) & (side > 0.1) & (y < dome + 0.3) & (y > top)
        values += blurred(rng.uniform(3, 16) * (ribs > rng.uniform(0, 0.6)) * shown, 1)
    heart = np.hypot((x - rng.choice([-1, 1]) * rng.uniform(0.08, 0.18)) / 1.15, y - low + 0.25)
    values += blurred(rng.uniform(25, 90) * (heart < rng.uniform(0.2, 0.35)), 3)
    values += rng.uniform(20, 60) * np.exp(-((x / rng.uniform(0.08, 0.15)) ** 2)) * (y > top)
    values += blurred(rng.uniform(20, 60) * ((y > dome) & body), 2)
    collar = np.abs(y - top - 0.25 + rng.uniform(0.1, 0.5) * side) < 0.025
    values += blurred(rng.uniform(5, 35) * (collar & (side < 0.75)), 1)
    return _film(rng, values)


def abdomen(rng: Rng) -> Pixels:
    """Grey tissue with pockets of gas over a spine, between the last ribs and the pelvis."""
    x, y = rotated_grid(rng.normal(0, 0.06))
    side = np.abs(x)
    values = rng.uniform(80, 160) * (1 - np.clip((side - rng.uniform(0.75, 1)) * 5, 0, 1))
    values += noise_field(rng, rng.uniform(1.5, 2.2)) * rng.uniform(3, 14)
    often = rng.uniform(13, 20)
    discs = np.sin(often * y + rng.uniform(0, 6)) > rng.uniform(-0.9, -0.5)
    spine = side < rng.uniform(0.1, 0.16)
    low = rng.uniform(0.35, 0.8)
    values += blurred(rng.uniform(20, 60) * (spine & discs & (y < low + 0.2)), 1.5)
    wings = np.hypot((side - 0.5) / rng.uniform(0.3, 0.4), (y - low) / rng.uniform(0.25, 0.4)) < 1
    values += blurred(rng.uniform(15, 60) * (wings & (y > low - 0.7 * side + 0.2)), 2)
    for k in range(int(rng.integers(0, 4))):
        curve = -0.9 + 0.16 * k + rng.uniform(0.2, 0.5) * side
        values += blurred(rng.uniform(3, 20) * ((np.abs(y - curve) < 0.03) & (side > 0.12)), 1)
    muscle = (side < 0.12 + 0.22 * (y + 0.5)) & (y > -0.5) & (y < low)
    values += blurred(rng.uniform(0, 15) * muscle, 4)
    pockets = noise_field(rng, rng.uniform(1.4, 2.2)) > rng.uniform(0.7, 2)
    inside = np.hypot(x / 0.75, (y + 0.1) / 0.8) < 1
    values -= blurred(rng.uniform(15, 70) * (pockets & inside), rng.uniform(1, 3))
    return _film(rng, values)


def _film(rng: Rng, values: Floats) -> Pixels:
    """Grey levels, sharpness and noise of an X-ray unit."""
    values = values - np.quantile(values, 0.01)
    scaled = np.clip(values / np.quantile(values, 0.995), 0, 1) ** np.exp(rng.normal(0, 0.3))
    grey = rng.uniform(0, 50) + scaled * rng.uniform(120, 205)
    return to_pixels(
        blurred(grey, rng.uniform(0.3, 1.5)) + rng.normal(0, rng.uniform(0.5, 6), grey.shape)
    )
