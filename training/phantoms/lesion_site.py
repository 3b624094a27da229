"""The site of a lesion in a straightened bone, and the pieces of that bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthoedge.training.phantoms.bones import F32, F64, Strip, noise_field


@dataclass
class Piece:
    """A part of a bone that moves as one body.

    `bone` and `mask` are float32 (rows, columns) in strip coordinates, `mask` 0 .. 1;
    `move` (2, 3) is the displacement within the strip.
    """

    bone: F32
    mask: F32
    move: F64


@dataclass(frozen=True)
class Site:
    """Site of a lesion in its strip, in pixels: row, half-width of the bone there, scale.

    `unit` is one pixel of a 256-pixel image, so that a lesion has the same form at every size.
    """

    row: float
    half: float
    unit: float
    subtle: bool


def still() -> F64:
    """Identity as an affine map, float64 (2, 3)."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def grid(strip: Strip) -> tuple[F32, F32]:
    """Row and column coordinates, float32 (rows, 1) and (1, columns)."""
    rows, columns = strip.bone.shape
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)[None, :]
    return y, x


def edges(strip: Strip, site: Site) -> tuple[float, float]:
    """Columns of the left and right outline at the site."""
    row = int(np.clip(site.row, 0, len(strip.left) - 1))
    return float(strip.left[row]), float(strip.right[row])


def noise_over(strip: Strip, rng: np.random.Generator, sx: float, sy: float) -> F32:
    """Smooth unit noise over the whole strip, float32 (rows, columns)."""
    rows, columns = strip.bone.shape
    return noise_field(rng, rows, columns, sx, sy)
