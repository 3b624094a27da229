"""Fractures: the bone is cut along a line on both walls and its pieces move apart."""

from __future__ import annotations

import cv2
import numpy as np

from orthoedge.training.phantoms.bones import F32, F64, Strip, f32, noise_field
from orthoedge.training.phantoms.lesion_site import Piece, Site, edges, grid, still


def _curve(
    kind: str, x: F32, middle: float, site: Site, rng: np.random.Generator
) -> tuple[F32, F32]:
    """Rows of the fracture line on the near and the far wall, each (1, columns)."""
    q = (x - middle) / site.half
    jag = noise_field(rng, 4, x.shape[1], 2.2 * site.unit, 1.0)[:1]
    far = noise_field(rng, 4, x.shape[1], 2.2 * site.unit, 1.0)[:1]
    rough = site.half * rng.uniform(0.04, 0.12)
    sign = rng.choice((-1.0, 1.0))
    if kind == "spiral":
        rise = site.half * rng.uniform(1.1, 1.8) * sign
        wave = np.sin(np.clip(q, -1.2, 1.2) * 1.3) * rise
        front, back = site.row + wave, site.row - wave * rng.uniform(0.5, 0.8)
        rough *= 0.5
    else:
        slope = rng.uniform(0.6, 1.4) if kind == "oblique" else rng.uniform(0.0, 0.22)
        base = site.row + slope * sign * site.half * np.clip(q, -1.5, 1.5)
        shift = site.half * rng.uniform(-0.18, 0.18)
        front, back = base - shift / 2, base + shift / 2
    return (front + rough * jag).astype(np.float32), (back + rough * far).astype(np.float32)


def _rotation(degrees: float, x: float, y: float, dx: float, dy: float) -> F64:
    move = np.asarray(cv2.getRotationMatrix2D((x, y), degrees, 1.0), dtype=np.float64)
    move[:, 2] += (dx, dy)
    return move


def fracture(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> list[Piece]:
    """Cut the strip along curves on both walls and move the pieces apart."""
    y, x = grid(strip)
    left, right = edges(strip, site)
    middle, unit = (left + right) / 2, site.unit
    inside = f32(cv2.dilate(f32(strip.bone > 0), np.ones((3, 3), np.uint8)))

    grade = "subtle" if site.subtle else rng.choice(("moderate", "displaced"), p=(0.45, 0.55))
    curve_kind = "transverse" if kind == "comminuted" and rng.random() < 0.5 else kind
    front, back = _curve(
        "oblique" if curve_kind == "comminuted" else curve_kind, x, middle, site, rng
    )
    if grade == "subtle" and kind != "comminuted":
        return [_hairline(strip, site, rng, front, back, inside, x, y)]

    if grade == "displaced":
        step = site.half * rng.uniform(0.3, 0.9)
        gap = unit * rng.uniform(1.5, 5.0)
        degrees = rng.uniform(4.0, 16.0)
        if rng.random() < 0.15:  # shortened: the ends overlap
            step, gap = site.half * rng.uniform(1.2, 1.8), -site.half * rng.uniform(0.2, 0.6)
    else:
        step = site.half * rng.uniform(0.1, 0.3)
        gap = unit * rng.uniform(1.5, 3.2)
        degrees = rng.uniform(0.0, 7.0)
    side = rng.choice((-1.0, 1.0))
    degrees *= rng.choice((-1.0, 1.0))

    spread = site.half * rng.uniform(0.45, 0.9) if kind == "comminuted" else 0.0
    walls = front, back
    upper = sum(np.clip(wall - spread - y + 0.5, 0, 1) for wall in walls) * np.float32(0.5)
    lower = sum(np.clip(y - wall - spread + 0.5, 0, 1) for wall in walls) * np.float32(0.5)
    reach = np.float32(max(2.8 * unit, abs(gap) * 0.7))
    near = np.minimum(np.abs(y - front + spread), np.abs(y - back + spread)) < reach
    low = np.minimum(np.abs(y - front - spread), np.abs(y - back - spread)) < reach
    # The piece with the nearer end moves.
    at = (site.row - strip.row0) / strip.length
    moved = _rotation(degrees, middle, site.row, side * step, (gap if at >= 0.5 else -gap) * 1.0)
    top_move, bottom_move = (still(), moved) if at >= 0.5 else (moved, still())
    pieces = [
        Piece(strip.bone * upper, near * inside, top_move),
        Piece(strip.bone * lower, low * inside, bottom_move),
    ]
    if kind == "comminuted":
        rest = np.clip(1 - upper - lower, 0, 1)
        distances = []
        for _ in range(int(rng.integers(2, 5))):
            cx = middle + site.half * rng.uniform(-0.9, 0.9)
            cy = site.row + spread * rng.uniform(-0.8, 0.8)
            distances.append((x - cx) ** 2 + (y - cy) ** 2)
        owner = np.argmin(distances, 0)
        for i in range(len(distances)):
            part = rest * (owner == i)
            away = rng.uniform(-0.3, 0.3) * site.half + 0.5 * side * step
            turn = _rotation(rng.uniform(-16, 16), middle, site.row, away, gap * rng.uniform(0, 1))
            pieces.append(Piece(strip.bone * part, (part > 0.5) * inside, turn))
    return pieces


def _hairline(
    strip: Strip, site: Site, rng: np.random.Generator,
    front: F32, back: F32, inside: F32, x: F32, y: F32,
) -> Piece:  # fmt: skip
    """A crack without displacement, or an impacted dense line with a buckled cortex."""
    left, right = edges(strip, site)
    sigma = np.float32(max(site.unit * rng.uniform(0.7, 1.1), 0.45))
    depth = rng.uniform(0.3, 0.5)
    # An incomplete crack starts at one wall and fades before it reaches the other.
    q = (x - left) / max(right - left, 1.0)
    if rng.random() < 0.5:
        q = 1 - q
    fade = np.clip((rng.uniform(0.75, 1.3) - q) * 5, 0, 1).astype(np.float32)
    lines = np.exp(-(((y - front) / sigma) ** 2)) + np.exp(-(((y - back) / sigma) ** 2))
    dense = rng.random() < 0.25
    factor = 1 + 0.7 * depth * lines * fade if dense else 1 - depth * lines * fade
    band = np.minimum(np.abs(y - front), np.abs(y - back)) < 3.0 * site.unit
    bone = (strip.bone * np.maximum(factor, 0.05)).astype(np.float32)
    return Piece(bone, (band * inside * (fade > 0.3)).astype(np.float32), still())
