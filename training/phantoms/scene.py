"""The parts of a phantom radiograph that do not depend on its class.

`stage` draws body part, pose, exposure, noise, collimation, marker, hardware and harmless
mimics from the nuisance stream alone: it never sees the label. It also draws where a
lesion would sit, in healthy images too, so that framing cannot tell the classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.phantoms.anatomy import PARTS, Anatomy
from orthoedge.training.phantoms.bones import F32, Pose, Real, Strip, f32, noise_field

HARDWARE = ("plate", "screw", "wire", "ring", "staples")
# Free space around the lesion, in image sides: no hardware, marker or field edge.
CLEAR = 0.2


@dataclass(frozen=True)
class Scene:
    """The nuisances of one image. Positions are fractions of the side from the centre.

    `field` is (centre x, centre y, half width, half height, degrees) of the collimated
    field; `outside` is the 8-bit grey beyond it. `dose` is the number of quanta per pixel
    in air, `scatter` the scattered share, `focus` the blur in pixels of a 256 image.
    """

    anatomy: Anatomy
    pose: Pose
    host: int
    host_t: float
    target: tuple[float, float]
    girth: float
    field: tuple[float, float, float, float, float]
    outside: int
    kv: float
    dose: float
    scatter: float
    focus: float
    detail: float
    window: tuple[float, float]
    gamma: float
    marker: tuple[str, float, float, int, float, bool] | None
    hardware: tuple[str, float, float, float, float] | None
    paediatric: bool
    porosity: float
    fold: tuple[float, float, float] | None


def _pose(
    rng: np.random.Generator, anatomy: Anatomy, at: npt.NDArray[np.float64]
) -> tuple[Pose, tuple[float, float]]:
    """Draw a pose that brings the anatomical point `at` near the centre of the field."""
    degrees = rng.normal(0, 9)
    if rng.random() < 0.12:
        degrees += rng.choice((-90, 90))
    angle, scale = np.deg2rad(degrees), anatomy.zoom * rng.uniform(1.3, 1.9)
    mirror = rng.choice((-1.0, 1.0))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    there = matrix @ at
    wanted = np.clip(there + rng.uniform(-0.08, 0.08, 2), -0.19, 0.19)
    return Pose(matrix, wanted - there), (float(wanted[0]), float(wanted[1]))


def _marker_spot(
    rng: np.random.Generator, anatomy: Anatomy, pose: Pose, target: tuple[float, float],
    reach: float,
) -> tuple[float, float]:  # fmt: skip
    """Choose the best of 10 random marker positions: off the bones and clear of the target."""
    best, best_score = (0.0, 0.0), -9.0
    ends = [(pose(bone.p0), pose(bone.p1), bone.mid) for bone in anatomy.bones]
    for _ in range(10):
        spot = rng.uniform(-reach, reach, 2)
        score = min(float(np.hypot(*(spot - np.asarray(target)))) - CLEAR - 0.06, 0.08) * 3
        for p0, p1, wide in ends:
            along = p1 - p0
            s = np.clip((spot - p0) @ along / (along @ along), 0, 1)
            gap = float(np.hypot(*(spot - p0 - s * along)))
            score = min(score, gap - wide - 0.05) if score > 0 else score
        if score > best_score:
            best, best_score = (float(spot[0]), float(spot[1])), score
    return best


def _hardware(
    rng: np.random.Generator, anatomy: Anatomy, pose: Pose, target: tuple[float, float]
) -> tuple[str, float, float, float, float] | None:
    """Kind, x, y, angle and length of a hardware object on a bone, clear of the target."""
    kind = str(rng.choice(HARDWARE))
    for _ in range(16):
        bone = anatomy.bones[int(rng.integers(len(anatomy.bones)))]
        t = rng.uniform(0.02, 0.98)
        p0, p1 = pose(bone.p0), pose(bone.p1)
        x, y = p0 + t * (p1 - p0)
        angle = float(np.arctan2(p1[1] - p0[1], p1[0] - p0[0]))
        length = rng.uniform(0.14, 0.3) if kind == "plate" else rng.uniform(0.08, 0.2)
        if kind == "ring":
            length = rng.uniform(0.05, 0.1)
        if kind in ("wire", "screw"):
            angle += rng.uniform(0.4, 2.7)
        if max(abs(x), abs(y)) > 0.46:
            continue
        ends = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])[:, None] * length
        along = np.array([x, y]) + ends * np.array([np.cos(angle), np.sin(angle)])
        if np.hypot(*(along - np.asarray(target)).T).min() > CLEAR + 0.02:
            return kind, float(x), float(y), angle, length
    return None


def stage(seed: int, index: int) -> tuple[Scene, np.random.Generator]:
    """Draw the scene of image `index` and return its random stream for the noise."""
    rng = np.random.default_rng([seed, index, 0])
    anatomy = PARTS[int(rng.integers(len(PARTS)))](rng)
    hosts = [i for i, bone in enumerate(anatomy.bones) if bone.host]
    # Wide bones fill more of a film and have more of the visible lesions.
    weights = np.array([anatomy.bones[i].mid for i in hosts]) ** 2.0
    host = int(rng.choice(hosts, p=weights / weights.sum()))
    bone = anatomy.bones[host]
    low, high = bone.host or (0.3, 0.7)
    host_t = float(rng.uniform(low, high))
    at = np.asarray(bone.p0) + host_t * (np.asarray(bone.p1) - np.asarray(bone.p0))
    pose, target = _pose(rng, anatomy, at)

    if rng.random() < 0.45:
        hw, hh = rng.uniform(0.36, 0.5, 2)
        cx = float(np.clip(0.4 * target[0], -(0.5 - hw) - 0.03, 0.5 - hw + 0.03))
        cy = float(np.clip(0.4 * target[1], -(0.5 - hh) - 0.03, 0.5 - hh + 0.03))
        tilt = float(rng.normal(0, 3)) if rng.random() < 0.5 else 0.0
        field = (cx, cy, float(min(hw, 0.47)), float(min(hh, 0.47)), tilt)
    else:
        field = (0.0, 0.0, 1.0, 1.0, 0.0)
    outside = int(rng.integers(235, 256)) if rng.random() < 0.18 else int(rng.integers(0, 14))

    marker = None
    if rng.random() < 0.4:
        text = str(rng.choice(("L", "R")))
        mx, my = _marker_spot(rng, anatomy, pose, target, 0.34 if field[2] < 0.6 else 0.44)
        marker = (text, mx, my, int(rng.choice((0, 0, 0, 1, 3))), float(rng.uniform(0.05, 0.085)),
                  bool(rng.random() < 0.35))  # fmt: skip
    hardware = _hardware(rng, anatomy, pose, target) if rng.random() < 0.22 else None
    fold = None
    if rng.random() < 0.3:
        fold = (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.6, 0.6)),
                float(rng.uniform(-0.06, 0.06)))  # fmt: skip
    scene = Scene(
        anatomy=anatomy,
        pose=pose,
        host=host,
        host_t=host_t,
        target=target,
        girth=float(rng.uniform(0.85, 1.12)),
        field=field,
        outside=outside,
        kv=float(rng.uniform(0.72, 1.25)),
        dose=float(np.exp(rng.uniform(np.log(2500), np.log(30000)))),
        scatter=float(rng.uniform(0.02, 0.2)),
        focus=float(rng.uniform(0.35, 0.85)),
        detail=float(rng.uniform(0.0, 0.9)),
        window=(float(rng.uniform(-0.16, 0.2)), float(rng.uniform(-0.18, 0.3))),
        gamma=float(np.exp(rng.uniform(-0.5, 0.5))),
        marker=marker,
        hardware=hardware,
        paediatric=bool(rng.random() < 0.25),
        porosity=float(rng.uniform(0.68, 1.2)),
        fold=fold,
    )
    return scene, rng


def look_alikes(strip: Strip, scene: Scene, rng: np.random.Generator, unit: float) -> None:
    """Draw harmless marks into a bone: growth plate, foramen, groove, island, arrest lines."""
    if strip.length < 30 * unit:
        return
    rows, columns = strip.bone.shape
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)[None, :]
    factor: Real = np.ones_like(strip.bone)
    if scene.paediatric:
        inset = rng.uniform(0.1, 0.16) * min(strip.length, 220 * unit)
        # Tubular bones of hand and foot have one growth plate, long bones two.
        rims = (strip.row0 + inset, strip.row0 + strip.length - inset)
        for at in rims if strip.length > 130 * unit else rims[:1]:
            wave = at + 1.6 * unit * np.sin(x / (6 * unit) + np.float32(rng.uniform(0, 6)))
            width = unit * rng.uniform(0.9, 1.5)
            d = (y - wave) / width
            factor = factor - 0.5 * np.exp(-(d**2)) + 0.16 * np.exp(-((np.abs(d) - 1.8) ** 2))
    if strip.length > 60 * unit:
        draw = rng.random(4)
        t = rng.uniform(0.25, 0.75, 4)
        lateral = rng.uniform(0.15, 0.85, 4)
        slope = rng.uniform(-0.5, 0.5, 4)
        for i, wanted in enumerate((0.18, 0.12, 0.12, 0.12)):
            if draw[i] > wanted:
                continue
            cy = strip.row(float(t[i]))
            row = int(np.clip(cy, 0, rows - 1))
            left, right = float(strip.left[row]), float(strip.right[row])
            wide = max(right - left, 1.0)
            cx = left + float(lateral[i]) * wide
            if i == 0:  # nutrient foramen: a short oblique channel
                d = (x - cx) - slope[i] * 0.6 * (y - cy)
                window = np.exp(-(((y - cy) / (7 * unit)) ** 4))
                factor = factor - 0.3 * np.exp(-((d / (0.9 * unit)) ** 2)) * window
            elif i == 1:  # vascular groove: a longer, fainter line across
                d = (y - cy) - slope[i] * 1.2 * (x - cx)
                window = np.exp(-(((x - cx) / (0.35 * wide)) ** 4))
                factor = factor - 0.22 * np.exp(-((d / (0.9 * unit)) ** 2)) * window
            elif i == 2:  # bone island: small, dense, smooth
                d2 = ((y - cy) / (3.6 * unit)) ** 2 + ((x - cx) / (2.4 * unit)) ** 2
                factor = factor + 0.5 * np.exp(-(d2**2))
            else:  # growth-arrest lines: dense, transverse
                for k in range(2):
                    d = y - cy - 4 * k * unit - 0.04 * (x - cx) ** 2 / wide
                    factor = factor + 0.16 * np.exp(-((d / (0.8 * unit)) ** 2))
    strip.bone = f32(strip.bone * np.maximum(factor, 0.2))


def veil(scene: Scene, rng: np.random.Generator, size: int) -> F32:
    """Uneven soft tissue in image sides, float32 (size, size): muscle bellies and a skin fold."""
    uneven = noise_field(rng, 64, 64, 9.0, 9.0)
    uneven = f32(cv2.resize(uneven, (size, size))) * np.float32(0.012)
    if scene.fold:
        offset, slope, step = scene.fold
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
        d = axis[:, None] - offset - slope * axis[None, :]
        uneven = f32(uneven + step * np.clip(d * 60 + 0.5, 0, 1))
    return uneven
