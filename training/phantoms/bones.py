"""Parametric bones and soft tissue, and their path lengths in parallel projection.

A bone is drawn straight, in a strip whose rows run along its axis, because there the
chord through a hollow ellipsoid or tube is one closed formula per row. The strip is
then laid onto the radiograph by an affine map, so a fragment of a fractured bone is
the same strip under a slightly different map.

Lengths are fractions of the image side until `carve` turns them into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]
Point = tuple[float, float]


@dataclass(frozen=True)
class Knob:
    """A tapered capsule fused to a bone: condyle, trochanter, malleolus, neck, head.

    `a` and `b` are (along the axis from the proximal end, lateral); `ra` and `rb` are the
    radii at the two ends.
    """

    a: Point
    b: Point
    ra: float
    rb: float


@dataclass(frozen=True)
class Bone:
    """A hollow bone from `p0` to `p1` (x, y; y points down, the origin is the image centre).

    `mid` is the half-width of the shaft and `start` and `end` are (left half-width, right
    half-width, flare length) at the two ends. `bow` is the sideways deflection at half
    length, `cortex` the wall at half length, `depth` the extent along the beam relative to
    the width. `host` is the range of t = 0 .. 1 where a lesion may sit, None where none may.
    """

    p0: Point
    p1: Point
    mid: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    cortex: float
    bow: float = 0.0
    depth: float = 1.0
    spongy: float = 0.42
    knobs: tuple[Knob, ...] = ()
    host: tuple[float, float] | None = None
    long: bool = True


@dataclass(frozen=True)
class Sheath:
    """A tapered capsule of soft tissue between two points, fractions of the image side."""

    a: Point
    b: Point
    ra: float
    rb: float
    depth: float = 1.0


@dataclass(frozen=True)
class Pose:
    """Rotation, scale and mirror as a 2×2 matrix, then a shift, in fractions of the side."""

    matrix: F64
    shift: F64

    def __call__(self, point: Point) -> F64:
        """Map an anatomical point to the image, (2,) float64, origin at the centre."""
        return np.asarray(self.matrix @ np.asarray(point, dtype=np.float64) + self.shift)

    @property
    def scale(self) -> float:
        """Magnification of the pose."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))


@dataclass
class Strip:
    """A straightened bone; every array is float32 (rows, columns), lengths in pixels.

    `bone` is the attenuating path, cortex counted as 1 and spongiosa as less. `soft` is the
    path through a tumour mass outside. `left` and `right` are the outline in columns per
    row, (rows,). `to_image` (2, 3) maps (column, row) to image (x, y).
    """

    bone: F32
    soft: F32
    left: F32
    right: F32
    to_image: F64
    row0: float
    length: float
    wall: float

    def row(self, t: float) -> float:
        """Row of the relative position t = 0 .. 1 along the axis."""
        return self.row0 + t * self.length


def f32(array: npt.ArrayLike) -> F32:
    """Convert to float32, without a copy if it already is."""
    return np.asarray(array, dtype=np.float32)


def noise_field(rng: np.random.Generator, rows: int, columns: int, sx: float, sy: float) -> F32:
    """Smooth noise of mean 0 and standard deviation 1, float32 (rows, columns).

    `sx` and `sy` are the correlation lengths in pixels. Long ones are drawn coarsely and
    enlarged, which costs a fraction of filtering the full raster.
    """
    kx, ky = max(1, int(sx / 1.5)), max(1, int(sy / 1.5))
    coarse = rng.standard_normal((rows // ky + 3, columns // kx + 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(coarse, (0, 0), max(sx / kx, 0.3), sigmaY=max(sy / ky, 0.3))
    field = f32(cv2.resize(smooth, (smooth.shape[1] * kx, smooth.shape[0] * ky)))[:rows, :columns]
    mean, deviation = cv2.meanStdDev(field)
    return (field - np.float32(mean[0, 0])) * np.float32(1.0 / (deviation[0, 0] + 1e-6))


def _half_widths(bone: Bone, t: F32) -> tuple[F32, F32]:
    """Left and right half-width over t, (rows,), with rounded ends."""
    start = np.exp(-((np.maximum(t, 0) / bone.start[2]) ** 1.6))
    end = np.exp(-((np.maximum(1 - t, 0) / bone.end[2]) ** 1.6))
    mid, pairs = bone.mid, zip(bone.start[:2], bone.end[:2], strict=True)
    sides = [mid + (w0 - mid) * start + (w1 - mid) * end for w0, w1 in pairs]
    length = float(np.hypot(bone.p1[0] - bone.p0[0], bone.p1[1] - bone.p0[1]))
    cap = 0.45 * min(max(sides[0][0], 0.01), 0.12) / length, 0.45 * min(sides[0][-1], 0.12) / length
    ends = np.ones_like(t)
    for distance, reach in ((t, cap[0]), (1 - t, cap[1])):
        q = np.clip(1 - distance / max(reach, 1e-3), 0, 1)
        ends = ends * (1 - q**2.6) ** (1 / 2.6)
        ends[distance <= 0] = 0
    return (sides[0] * ends).astype(np.float32), (sides[1] * ends).astype(np.float32)


def _chord(radius2: Real | float, distance2: Real) -> F32:
    """Path through a round body: 2·sqrt(R² − d²), 0 outside."""
    return f32(2 * np.sqrt(np.maximum(radius2 - distance2, 0)))


def capsule_chord(x: Real, y: Real, a: Point, b: Point, ra: float, rb: float) -> F32:
    """Path length through a tapered capsule from a to b seen side-on, same unit as x and y."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    norm = dx * dx + dy * dy
    if norm < 1e-9:
        return _chord(ra * ra, (x - a[0]) ** 2 + (y - a[1]) ** 2)
    s = np.clip(((x - a[0]) * (dx / norm) + (y - a[1]) * (dy / norm)), 0, 1)
    radius = ra + (rb - ra) * s
    return _chord(radius * radius, (x - a[0] - s * dx) ** 2 + (y - a[1] - s * dy) ** 2)


def _patch(texture: F32, rows: int, columns: int, right: int, down: int) -> F32:
    """Cut a (rows, columns) piece out of a raster that repeats periodically."""
    short = max(0, down + rows - texture.shape[0]), max(0, right + columns - texture.shape[1])
    if any(short):
        texture = f32(cv2.copyMakeBorder(texture, 0, short[0], 0, short[1], cv2.BORDER_WRAP))
    return texture[down : down + rows, right : right + columns]


def carve(bone: Bone, pose: Pose, size: int, texture: F32, margin: float) -> Strip | None:
    """Turn a bone into its strip at `size` pixels, or None if it misses the image.

    `texture` is a noise raster of mean 0 that at least covers any strip; `margin` is free
    room on both sides as a fraction of the side, for masses and periosteal reactions.
    """
    scale = pose.scale * size
    q0 = (pose(bone.p0) + 0.5) * size
    q1 = (pose(bone.p1) + 0.5) * size
    length = float(np.hypot(*(q1 - q0)))
    along = (q1 - q0) / length
    axis = np.asarray(bone.p1, dtype=np.float64) - np.asarray(bone.p0)
    axis /= np.hypot(*axis)
    across = pose.matrix @ np.array([axis[1], -axis[0]]) / pose.scale

    reach = max(
        [bone.mid, *bone.start[:2], *bone.end[:2]]
        + [abs(v) + r for k in bone.knobs for v, r in ((k.a[1], k.ra), (k.b[1], k.rb))]
    )
    tips = [tip for n in bone.knobs for tip in ((n.a[0], n.ra), (n.b[0], n.rb))]
    over = max([0.02, *(r - k for k, r in tips), *(r + k - length / scale for k, r in tips)])
    half = (reach + abs(bone.bow)) * scale + margin * size + 2
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], dtype=np.float64) - q0
    position, offset = corners @ along, corners @ across
    lo = max(-over * scale - 2, float(position.min()) - half)
    hi = min(length + over * scale + 2, float(position.max()) + half)
    if hi - lo < 4 or offset.min() > half or offset.max() < -half:
        return None

    rows, columns = int(hi - lo) + 1, int(2 * half) + 1
    y = (np.arange(rows, dtype=np.float32) + np.float32(lo))[:, None]
    x = (np.arange(columns, dtype=np.float32) - np.float32(half))[None, :]
    t = (y[:, 0] / np.float32(length)).astype(np.float32)
    left, right = (w * np.float32(scale) for w in _half_widths(bone, t))
    centre = (bone.bow * scale * 4 * t * (1 - t) * ((t > 0) & (t < 1))).astype(np.float32)

    wall = bone.cortex * scale
    middle = np.clip(1 - np.abs(2 * t - 1) ** 2.6, 0, 1)
    thick = (wall * (0.22 + 0.78 * middle)).astype(np.float32)
    half_width = 0.5 * (left + right)
    middle_x = (centre + 0.5 * (right - left))[:, None]
    # The marrow ends short of the joint surface: the subchondral plate.
    plate = max(0.3 * wall, 0.9) / length
    inside = ((t > plate) & (t < 1 - plate)).astype(np.float32)
    inner_width = np.maximum(half_width - thick, 0) * inside
    d2 = (x - middle_x) ** 2
    outer = _chord((half_width * half_width)[:, None], d2)
    inner = _chord((inner_width * inner_width)[:, None], d2)
    for knob in bone.knobs:
        a, b = (knob.a[1] * scale, knob.a[0] * scale), (knob.b[1] * scale, knob.b[0] * scale)
        ra, rb = knob.ra * scale, knob.rb * scale
        np.maximum(outer, capsule_chord(x, y, a, b, ra, rb), out=outer)
        inner_radii = []
        for (lateral, along_axis), radius in ((a, ra), (b, rb)):
            # A knob thins the cortex, unless it tapers into the middle of the shaft.
            skin = 0.45 * wall
            if abs(lateral) < 0.02 * scale:
                skin = float(np.interp(along_axis, y[:, 0], thick))
            inner_radii.append(max(radius - max(skin, 0.9), 0.1))
        np.maximum(inner, capsule_chord(x, y, a, b, *inner_radii), out=inner)
    np.minimum(inner, outer, out=inner)

    edge = 0.12 + (0.6 if bone.long else 0.88) * np.clip(np.abs(2 * t - 1), 0, 1) ** 3
    fill = (bone.spongy * (edge if bone.long else np.ones_like(t)))[:, None].astype(np.float32)
    grain = _patch(texture, rows, columns, int(abs(q0[0])) % 61, int(abs(q0[1])) % 61)
    rough = np.float32(0.2 if bone.long else 0.11)
    solid = (outer - inner) + inner * fill * (1 + rough * grain)
    solid *= np.float32(bone.depth)

    hit = outer > 0
    any_row = hit.any(axis=1)
    first = np.where(any_row, hit.argmax(axis=1), half).astype(np.float32)
    last = np.where(any_row, columns - 1 - hit[:, ::-1].argmax(axis=1), half).astype(np.float32)
    origin = q0 + along * lo - across * half - 0.5
    solid = np.ascontiguousarray(solid, dtype=np.float32)
    to_image = np.column_stack([across, along, origin])
    return Strip(solid, np.zeros_like(solid), first, last, to_image, -lo, length, wall)


def lay(strip_map: F32, to_image: F64, canvas: F32) -> None:
    """Add a strip raster to the image `canvas` (H, W) in place, under the map `to_image`."""
    rows, columns = strip_map.shape
    corners = np.array([[0, 0, 1], [columns, 0, 1], [0, rows, 1], [columns, rows, 1]]).T
    at = to_image @ corners
    x0, y0 = np.maximum(np.floor(at.min(axis=1)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(at.max(axis=1)).astype(int) + 2, canvas.shape[::-1])
    if x1 <= x0 or y1 <= y0:
        return
    local = to_image.copy()
    local[:, 2] -= (x0, y0)
    piece = cv2.warpAffine(strip_map, local, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    canvas[y0:y1, x0:x1] += f32(piece)


def soft_tissue(sheaths: tuple[Sheath, ...], pose: Pose, size: int, girth: float) -> F32:
    """Path through the soft tissue in pixels, float32 (size, size).

    Computed at a quarter of the pixels: skin lines are smooth, and the chord is cheap there.
    """
    half = max(size // 2, 16)
    axis = (np.arange(half, dtype=np.float32) + 0.5) / half - 0.5
    x, y = axis[None, :], axis[:, None]
    total = np.zeros((half, half), dtype=np.float32)
    for sheath in sheaths:
        (ax, ay), (bx, by) = pose(sheath.a).tolist(), pose(sheath.b).tolist()
        ra, rb = sheath.ra * (pose.scale * girth), sheath.rb * (pose.scale * girth)
        chord = capsule_chord(x, y, (ax, ay), (bx, by), ra, rb)
        np.maximum(total, chord * np.float32(sheath.depth), out=total)
    smooth = cv2.GaussianBlur(total, (0, 0), half / 90)
    return f32(cv2.resize(smooth, (size, size))) * np.float32(size)
