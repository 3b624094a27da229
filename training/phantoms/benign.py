"""Benign tumours: well-defined, rimmed, or grown on the bone; recognised by their margin."""

from __future__ import annotations

import cv2
import numpy as np

from orthoedge.training.phantoms.bones import F32, Strip, f32
from orthoedge.training.phantoms.lesion_site import Site, edges, grid, noise_over


def _lobes(
    y: F32, x: F32, cy: float, cx: float, ry: float, rx: float,
    rng: np.random.Generator, lobulation: float,
) -> F32:  # fmt: skip
    """Relative distance from the centre of a lobulated ellipse; 1 on its outline."""
    dy, dx = (y - cy) / np.float32(ry), (x - cx) / np.float32(rx)
    angle = np.arctan2(dy, dx)
    outline = np.ones_like(angle)
    for order in (2, 3, 5):
        outline += np.float32(lobulation / order**0.5 * rng.uniform(0.4, 1.0)) * np.cos(
            order * angle + np.float32(rng.uniform(0, 6.28))
        )
    return np.asarray(np.sqrt(dx * dx + dy * dy) / outline, dtype=np.float32)


def _swell(strip: Strip, site: Site, ry: float, amount: float, side: float) -> None:
    """Widen the bone around the site: an expansile lesion pushes the cortex out."""
    y, x = grid(strip)
    left, right = edges(strip, site)
    middle = (left + right) / 2
    bump = np.exp(-(((y - site.row) / np.float32(ry)) ** 4)) * np.float32(amount)
    way = np.clip((x - middle) * np.float32(side) / np.float32(site.half) + 0.6, 0, 1)
    if side == 0:
        way = np.ones_like(x)
    source = middle + (x - middle) / (1 + bump * way)
    rows = np.broadcast_to(y, strip.bone.shape)
    moved = cv2.remap(
        strip.bone, source.astype(np.float32), np.ascontiguousarray(rows), cv2.INTER_LINEAR
    )
    strip.bone = f32(moved)


def _bite(
    strip: Strip, s: F32, radius: float, depth: float, rim: float, rim_width: float, edge: float
) -> None:
    """Remove bone where s < 1 and lay a sclerotic rim of `rim` on the outline."""
    inside = np.clip((1 - s) * np.float32(radius / edge) + 0.5, 0, 1)
    bowl = inside * (0.62 + 0.38 * np.sqrt(np.clip(1 - s * s, 0, 1)))
    level = cv2.blur(strip.bone, (9, 9))
    ring = np.exp(-(((s - 1.04) * np.float32(radius / rim_width)) ** 2))
    strip.bone = strip.bone * (1 - np.float32(depth) * bowl) + np.float32(rim) * ring * level


def _outline(s: F32, strip: Strip, limit: float) -> F32:
    """The visible part of a lesion within the bone."""
    body = cv2.dilate(f32(strip.bone > 0), np.ones((3, 3), np.uint8))
    return np.asarray((s < limit) * body, dtype=np.float32)


def lytic(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """A well-defined lucency with a sclerotic rim, sometimes expansile, septate or calcified."""
    y, x = grid(strip)
    left, right = edges(strip, site)
    rx = site.half * rng.uniform(0.6, 0.92)
    ry = float(np.clip(site.half * rng.uniform(0.95, 1.9), 11 * site.unit, 44 * site.unit))
    if rng.random() < 0.5:
        _swell(strip, site, ry * 1.15, rng.uniform(0.08, 0.35), 0.0)
    cx = (left + right) / 2 + rng.uniform(-0.15, 0.15) * site.half
    s = _lobes(y, x, site.row, cx, ry, rx, rng, rng.uniform(0.03, 0.12))
    depth = rng.uniform(0.3, 0.42) if site.subtle else rng.uniform(0.48, 0.72)
    rim = rng.uniform(0.1, 0.25) if site.subtle else rng.uniform(0.3, 0.7)
    mean = (rx + ry) / 2
    before = strip.bone.copy()
    _bite(strip, s, mean, depth, rim, site.unit * rng.uniform(1.2, 2.4), site.unit * 1.4)
    within = np.clip((0.95 - s) * 4, 0, 1)
    extra = rng.random()
    if extra < 0.3:
        cells = noise_over(strip, rng, 4.5 * site.unit, 4.5 * site.unit)
        strip.bone += np.float32(0.35) * before * within * np.exp(-((cells / 0.22) ** 2))
    elif extra < 0.55:
        dots = noise_over(strip, rng, 1.3 * site.unit, 1.3 * site.unit)
        strip.bone += np.float32(0.8) * before * within * np.clip(dots - 1.1, 0, 1)
    return _outline(s, strip, 1.12)


def fibroma(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """An eccentric, lobulated cortical lucency with a scalloped rim on the marrow side."""
    y, x = grid(strip)
    left, right = edges(strip, site)
    side = rng.choice((-1.0, 1.0))
    rx = max(site.half * rng.uniform(0.4, 0.62), min(5 * site.unit, 0.8 * site.half))
    ry = float(np.clip(site.half * rng.uniform(0.85, 1.6), 11 * site.unit, 42 * site.unit))
    if rng.random() < 0.5:
        _swell(strip, site, ry * 1.1, rng.uniform(0.06, 0.2), float(side))
    wall = right if side > 0 else left
    cx = wall - side * rx * rng.uniform(0.7, 0.95)
    s = _lobes(y, x, site.row, cx, ry, rx, rng, 0.08)
    for _ in range(int(rng.integers(2, 4))):
        offset = rng.uniform(-0.75, 0.75)
        lobe = _lobes(
            y, x, site.row + offset * ry, cx + side * rx * rng.uniform(-0.25, 0.15),
            ry * rng.uniform(0.35, 0.55), rx * rng.uniform(0.6, 0.9), rng, 0.05,
        )  # fmt: skip
        np.minimum(s, lobe, out=s)
    depth = rng.uniform(0.28, 0.4) if site.subtle else rng.uniform(0.45, 0.7)
    rim = rng.uniform(0.15, 0.3) if site.subtle else rng.uniform(0.45, 0.9)
    _bite(strip, s, (rx + ry) / 2, depth, rim, site.unit * rng.uniform(1.4, 2.6), site.unit * 1.3)
    return _outline(s, strip, 1.15)


def exostosis(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """A bony outgrowth continuous with the cortex, on a stalk or broad-based, with a cap."""
    y, x = grid(strip)
    left, right = edges(strip, site)
    side = rng.choice((-1.0, 1.0))
    wall = right if side > 0 else left
    size = site.half * (rng.uniform(0.4, 0.5) if site.subtle else rng.uniform(0.55, 0.95))
    size = float(np.clip(size, 7.5 * site.unit, 24 * site.unit))
    # It points away from the nearer joint, as muscle pull makes it do.
    lean = 1.0 if site.row - strip.row0 < strip.length / 2 else -1.0
    broad = rng.random() < 0.4
    out = size * rng.uniform(0.55, 0.8) if broad else size * rng.uniform(1.2, 1.8)
    tip_y, tip_x = site.row + lean * size * rng.uniform(0.2, 1.1), wall + side * out
    root_x = wall - side * size * 0.5
    base = size * rng.uniform(1.0, 1.4) if broad else size * rng.uniform(0.45, 0.65)
    a, b = (root_x, site.row), (tip_x, tip_y)
    wobble = noise_over(strip, rng, 5 * site.unit, 5 * site.unit) * (0.07 * size)

    def chord(shrink: float) -> F32:
        dx, dy = b[0] - a[0], b[1] - a[1]
        q = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
        flare = base + (size * 0.8 - base) * q * q * (3 - 2 * q)
        d = np.sqrt((x - a[0] - q * dx) ** 2 + (y - a[1] - q * dy) ** 2) + wobble
        return np.asarray(
            2 * np.sqrt(np.maximum((flare - shrink) ** 2 - d * d, 0) * (flare > shrink)),
            dtype=np.float32,
        )

    outer, inner = chord(0.0), chord(max(1.6 * site.unit, strip.wall * 0.35))
    dots = noise_over(strip, rng, 1.8 * site.unit, 1.8 * site.unit)
    growth = 1.2 * (outer - inner) + inner * (0.5 + 0.12 * dots + 0.3 * np.clip(dots - 1, 0, 1))
    growth *= np.float32(rng.uniform(0.9, 1.25) if not site.subtle else 0.6)
    inside_x = (x - wall) * np.float32(side)
    outside = np.clip(inside_x / (3 * site.unit) + 1.0, 0.06, 1)
    strip.bone = strip.bone + growth * outside
    seen = (outer > 0.15 * size) * (inside_x > -0.25 * size)
    return np.asarray(seen, dtype=np.float32)
