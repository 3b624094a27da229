"""Malignant tumours: ill-defined destruction, breach, periosteal reaction and mass."""

from __future__ import annotations

import cv2
import numpy as np

from orthoedge.training.phantoms.bones import F32, Strip, f32
from orthoedge.training.phantoms.lesion_site import Site, edges, grid, noise_over


def malignant(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """Ill-defined destruction, breach, periosteal reaction and mass, in the mix of the kind."""
    y, x = grid(strip)
    unit, half = site.unit, site.half
    left, right = edges(strip, site)
    side = float(rng.choice((-1.0, 1.0)))
    force = rng.uniform(0.45, 0.65) if site.subtle else rng.uniform(0.85, 1.1)
    reach = float(np.clip(half * rng.uniform(1.1, 2.0), 16 * unit, 38 * unit))
    cx = (left + right) / 2 + side * half * rng.uniform(0.0, 0.4)
    rx = half * rng.uniform(0.8, 1.1)
    blotch = noise_over(strip, rng, 6 * unit, 6 * unit)
    hole = unit * rng.uniform(1.2, 2.6)
    fine = noise_over(strip, rng, hole, 1.3 * hole)
    fine = f32((fine + 0.6 * noise_over(strip, rng, 3.5 * unit, 4.5 * unit)) / 1.17)
    s = np.sqrt(((y - site.row) / reach) ** 2 + ((x - cx) / (rx * 1.15)) ** 2) + 0.16 * blotch
    fade = np.clip((1.25 - s) / 0.7, 0, 1)
    zone = f32(fade * fade * (3 - 2 * fade))
    rows = np.exp(-(((y - site.row) / np.float32(reach * 0.75)) ** 4)).astype(np.float32)
    edge = (strip.right if side > 0 else strip.left)[:, None]
    beyond = (x - edge) * np.float32(side)
    level = cv2.blur(strip.bone, (11, 11))
    healthy = strip.bone

    holes = 1 / (1 + np.exp(-np.clip((fine - 0.2) * 2.8, -9, 9)))
    loss = {"permeative": 0.85, "sunburst": 0.3, "onion-skin": 0.6, "destructive": 0.4}[kind]
    base = {"permeative": 0.18, "sunburst": 0.1, "onion-skin": 0.12, "destructive": 0.5}[kind]
    damage = force * zone * (loss * holes + base)
    if kind != "onion-skin" or rng.random() < 0.4:
        ragged = np.clip(0.5 + 0.6 * fine + 0.4 * blotch, 0, 1)
        wall = np.exp(-((beyond / np.float32(max(strip.wall, 3 * unit))) ** 2))
        damage = damage + force * 0.8 * wall * rows * ragged
    bone = healthy * (1 - np.clip(damage, 0, 0.93))

    height = float(np.clip(half * rng.uniform(0.5, 1.0), 10 * unit, 26 * unit))
    reaction = np.zeros_like(bone)
    out = np.clip(beyond / unit + 0.5, 0, 1)
    dense = max(half, 9 * unit) * rng.uniform(0.45, 0.75) * force
    if kind == "sunburst":
        cloud = np.clip(0.55 + 0.5 * blotch + 0.3 * fine, 0, 1.6)
        bone = bone + np.float32(0.55 * force * rng.uniform(0.4, 1.0)) * level * zone * cloud
        focus = edge[int(np.clip(site.row, 0, len(edge) - 1))] - side * max(half, 12 * unit)
        angle = np.arctan2(y - site.row, np.maximum((x - focus) * side, 1.0))
        rays = rng.standard_normal(256).astype(np.float32)
        rays = cv2.GaussianBlur(rays[None], (0, 0), 1.5)[0]
        table = np.clip(0.4 + rays / (rays.std() + 1e-6) * 0.8, 0, 1.7)
        spicule = table[np.clip((angle / 3.1416 + 0.5) * 255, 0, 255).astype(np.int32)]
        short = np.clip(1 - beyond / (height * (1 + 0.25 * blotch)), 0, 1)
        reaction += dense * spicule * short * out * rows
    if kind == "onion-skin":
        layers = int(rng.integers(2, 5))
        apart = unit * rng.uniform(2.8, 3.6)
        wave = 0.5 * unit * blotch
        for i in range(layers):
            lift = (i + 1) * apart * (0.25 + 0.75 * rows) + wave
            line = np.exp(-(((beyond - lift) / (0.75 * unit)) ** 2)) * rows
            reaction += (1.15 - 0.15 * i) * dense * line
        if rng.random() < 0.5:
            other = (x - (strip.left if side > 0 else strip.right)[:, None]) * np.float32(-side)
            line = np.exp(-(((other - 2.5 * unit) / (0.8 * unit)) ** 2)) * rows
            reaction += 0.6 * dense * line
    if kind == "permeative" and rng.random() < 0.4:
        line = np.exp(-(((beyond - 2.2 * unit + unit * blotch) / unit) ** 2))
        reaction += 0.6 * dense * line * rows * np.clip(0.6 + fine, 0, 1)
    if rng.random() < {"sunburst": 0.7, "onion-skin": 0.5}.get(kind, 0.25):
        for end in (-1.0, 1.0):
            tip = (site.row + end * reach * 1.0 - y) * end
            rise = np.clip(tip / (0.6 * reach), 0, 1) * height * 0.6
            filled = np.clip((rise - beyond) / unit + 0.5, 0, 1) * out
            lifted = ((tip > 0) & (tip < 0.55 * reach)).astype(np.float32)
            border = np.exp(-(((beyond - rise) / (1.1 * unit)) ** 2))
            reaction += dense * lifted * (0.28 * filled + 0.7 * border)
    strip.bone = np.maximum(bone + reaction, 0).astype(np.float32)

    chance = {"permeative": 0.4, "sunburst": 0.85, "onion-skin": 0.5, "destructive": 0.8}[kind]
    seen = (zone > 0.25) & (healthy > 0) | (reaction > 0.22 * dense)
    if rng.random() < chance:
        bulge = height * rng.uniform(1.0, 1.7)
        mx = edge[int(np.clip(site.row, 0, len(edge) - 1))] + side * 0.1 * bulge
        m2 = 1 - ((y - site.row) / (reach * 1.0)) ** 2 - ((x - mx) / bulge) ** 2 + 0.1 * blotch
        mass = np.sqrt(np.clip(m2, 0, None)) * np.clip(beyond / unit + 1, 0, 1)
        strip.soft = (strip.soft + 1.4 * bulge * force * mass).astype(np.float32)
        seen |= mass > 0.35
    return np.asarray(seen, dtype=np.float32)
