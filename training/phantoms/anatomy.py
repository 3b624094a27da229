"""Body parts: the bones and soft tissue that a radiograph of each one shows.

Distances are fractions of the image side at scale 1; y points distally (down).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from orthoedge.training.phantoms.bones import Bone, Knob, Sheath


@dataclass(frozen=True)
class Anatomy:
    """Bones and soft tissue of one body part, with attenuation per image side.

    `mu_bone` and `mu_soft` are in nats per image side: a hand fills the image with less
    tissue than a hip does, so they carry the physical size of the field. `zoom` magnifies
    parts made of many small bones.
    """

    name: str
    bones: tuple[Bone, ...]
    sheaths: tuple[Sheath, ...]
    mu_bone: float
    mu_soft: float
    zoom: float = 1.0


def _j(rng: np.random.Generator, value: float, spread: float = 0.08) -> float:
    """Vary a value from person to person."""
    return float(value * (1 + spread * rng.uniform(-1, 1)))


def _blob(
    rng: np.random.Generator, x: float, y: float, rx: float, ry: float, depth: float = 0.85
) -> Bone:
    """A short spongy bone (carpal, tarsal, patella): a pebble of three fused rounds."""
    small, big = min(rx, ry), max(rx, ry)
    radius = small * 0.97
    tall = ry >= rx
    knobs = []
    for way in (-1.0, 0.15, 1.0):
        off = way * (big - radius) + 0.12 * small * rng.uniform(-1, 1)
        side = 0.16 * small * rng.uniform(-1, 1)
        at = (ry + off, side) if tall else (ry + side, off)
        to = (at[0] + 0.2 * small * rng.uniform(-1, 1), at[1] + 0.2 * small * rng.uniform(-1, 1))
        knobs.append(Knob(at, to, radius * rng.uniform(0.85, 1.0), radius * rng.uniform(0.8, 1.0)))
    core = small * 0.3
    end = (core, core, 0.3)
    return Bone(
        (x, y - ry), (x, y + ry), core, end, end, 0.009, depth=depth, spongy=0.5,
        knobs=tuple(knobs), long=False,
    )  # fmt: skip


def wrist(rng: np.random.Generator) -> Anatomy:
    """Distal radius and ulna, two rows of carpals, metacarpal bases."""
    w = _j(rng, 0.056)
    radius = Bone(
        (0.05, -0.95), (0.085, 0.12), w, (w, w, 0.2), (_j(rng, 0.105), _j(rng, 0.115), 0.2),
        _j(rng, 0.02, 0.25), bow=_j(rng, -0.02, 0.9), spongy=0.46, host=(0.5, 0.95),
        knobs=(Knob((0.92, 0.03), (1.1, 0.08), 0.06, 0.028),),
    )  # fmt: skip
    ulna = Bone(
        (-0.13, -0.95), (-0.125, 0.07), _j(rng, 0.045), (0.05, 0.05, 0.2),
        (_j(rng, 0.06), 0.055, 0.1), _j(rng, 0.017, 0.25), bow=_j(rng, 0.015, 0.9),
        host=(0.5, 0.9), knobs=(Knob((0.99, -0.04), (1.05, -0.045), 0.016, 0.01),),
    )  # fmt: skip
    carpals = [
        _blob(rng, _j(rng, x, 0.05), _j(rng, y, 0.05), _j(rng, rx, 0.12), _j(rng, ry, 0.12))
        for x, y, rx, ry in (
            (0.135, 0.205, 0.048, 0.062), (0.03, 0.185, 0.05, 0.045), (-0.065, 0.19, 0.042, 0.044),
            (0.16, 0.315, 0.042, 0.042), (0.085, 0.305, 0.034, 0.038), (0.01, 0.295, 0.045, 0.07),
            (-0.085, 0.285, 0.047, 0.052),
        )
    ]  # fmt: skip
    rays = [
        Bone(
            (0.19 - 0.088 * i, 0.38 + 0.012 * abs(i - 2)), (0.27 - 0.13 * i, 0.85), 0.028,
            (0.042, 0.042, 0.12), (0.045, 0.045, 0.12), 0.011, depth=0.9,
        )
        for i in range(5)
    ]  # fmt: skip
    sheaths = (
        Sheath((-0.03, -1.0), (-0.01, 0.0), 0.32, 0.225, 0.8),
        Sheath((-0.01, 0.0), (0.01, 0.3), 0.225, 0.27, 0.75),
        Sheath((0.01, 0.3), (0.01, 0.9), 0.27, 0.37, 0.6),
    )
    return Anatomy("wrist", (radius, ulna, *carpals, *rays), sheaths, 11.0, 1.7)


def lower_leg(rng: np.random.Generator) -> Anatomy:
    """Tibia and fibula, with the knee and ankle ends near the edges."""
    w = _j(rng, 0.078)
    tibia = Bone(
        (-0.03, -0.72), (-0.045, 0.72), w, (0.17, 0.17, 0.16), (0.105, 0.115, 0.1),
        _j(rng, 0.03, 0.25), bow=_j(rng, 0.012, 1.0), host=(0.2, 0.82),
    )  # fmt: skip
    fibula = Bone(
        (0.14, -0.62), (0.1, 0.8), _j(rng, 0.033), (0.055, 0.05, 0.07), (0.05, 0.055, 0.08),
        _j(rng, 0.013, 0.2), bow=_j(rng, -0.012, 1.0), host=(0.2, 0.85),
    )  # fmt: skip
    femur = Bone((0, -1.4), (0, -0.75), 0.09, (0.09, 0.09, 0.1), (0.19, 0.19, 0.3), 0.02)
    sheaths = (
        Sheath((0, -1.0), (0.02, -0.3), 0.3, 0.34, 0.8),
        Sheath((0.02, -0.3), (0.02, 0.75), 0.34, 0.19, 0.8),
    )
    return Anatomy("lower leg", (tibia, fibula, femur), sheaths, 10.0, 1.7)


def knee(rng: np.random.Generator) -> Anatomy:
    """Distal femur, proximal tibia and fibula, patella, frontal view."""
    w = _j(rng, 0.09)
    c = _j(rng, 0.108)
    femur = Bone(
        (0.0, -0.95), (0.0, -0.06), w, (w, w, 0.2), (_j(rng, 0.185), _j(rng, 0.185), 0.3),
        _j(rng, 0.028, 0.25), host=(0.45, 0.88), spongy=0.4,
        knobs=(Knob((0.79, -0.1), (0.83, -0.098), c, c), Knob((0.79, 0.1), (0.825, 0.1), c, c)),
    )  # fmt: skip
    tibia = Bone(
        (0.005, 0.055), (0.0, 0.95), _j(rng, 0.085), (0.205, 0.2, 0.19), (0.1, 0.1, 0.2),
        _j(rng, 0.026, 0.25), host=(0.1, 0.55), spongy=0.42,
        knobs=(Knob((-0.012, -0.025), (0.03, -0.03), 0.014, 0.02),
               Knob((-0.012, 0.025), (0.03, 0.03), 0.012, 0.02)),
    )  # fmt: skip
    fibula = Bone(
        (0.19, 0.15), (0.15, 0.95), 0.035, (0.055, 0.055, 0.1), (0.035, 0.035, 0.1), 0.013,
        host=(0.15, 0.5),
    )  # fmt: skip
    patella = _blob(rng, _j(rng, 0.01, 1.5), _j(rng, -0.2, 0.15), 0.088, 0.098, 0.32)
    sheaths = (
        Sheath((0, -1.0), (0, -0.15), 0.4, 0.29, 0.8),
        Sheath((0, -0.15), (0, 0.2), 0.29, 0.27, 0.8),
        Sheath((0, 0.2), (0.01, 1.0), 0.27, 0.31, 0.8),
    )
    return Anatomy("knee", (femur, tibia, fibula, patella), sheaths, 7.6, 1.5)


def hip(rng: np.random.Generator) -> Anatomy:
    """Proximal femur with head, neck and trochanters, and the half pelvis around it."""
    w = _j(rng, 0.088)
    lean = _j(rng, 0.2, 0.12)
    femur = Bone(
        (0.085, -0.13), (0.05, 0.95), w, (0.1, 0.1, 0.2), (w, w, 0.2), _j(rng, 0.03, 0.25),
        host=(0.1, 0.62), spongy=0.42,
        knobs=(
            Knob((0.0, 0.055), (0.2, 0.0), 0.06, 0.085),
            Knob((0.02, 0.06), (0.07, 0.085), 0.045, 0.05),
            Knob((0.14, 0.0), (-0.06, 0.02 - lean), 0.098, 0.076),
            Knob((-0.09, -lean - 0.01), (-0.09, -lean - 0.01), 0.112, 0.112),
            Knob((0.19, -0.07), (0.23, -0.085), 0.03, 0.035),
            Knob((0.08, 0.0), (0.34, 0.0), 0.115, w * 0.98),
        ),
    )  # fmt: skip
    ilium = Bone(
        (-0.3, -0.9), (-0.2, -0.3), 0.2, (0.35, 0.3, 0.4), (0.15, 0.13, 0.3), 0.012,
        depth=0.3, spongy=0.3, long=False,
        knobs=(
            Knob((0.62, 0.0), (0.72, 0.03), 0.14, 0.12),
            Knob((0.78, -0.05), (0.83, -0.49), 0.07, 0.06),
            Knob((0.75, -0.02), (1.18, -0.2), 0.09, 0.06),
        ),
    )  # fmt: skip
    sheaths = (
        Sheath((-0.35, -1.0), (-0.2, -0.2), 0.75, 0.6, 0.65),
        Sheath((-0.1, -0.2), (0.03, 1.0), 0.48, 0.36, 0.8),
    )
    return Anatomy("hip", (femur, ilium), sheaths, 7.6, 1.3)


def shoulder(rng: np.random.Generator) -> Anatomy:
    """Proximal humerus, scapula, clavicle and the ribs behind them."""
    w = _j(rng, 0.072)
    humerus = Bone(
        (0.1, -0.22), (0.16, 0.95), w, (0.115, 0.1, 0.13), (w, w, 0.2), _j(rng, 0.024, 0.25),
        host=(0.1, 0.62), spongy=0.4,
        knobs=(
            Knob((0.035, -0.045), (0.06, -0.035), 0.115, 0.11),
            Knob((0.02, 0.06), (0.1, 0.06), 0.05, 0.058),
            Knob((0.08, -0.005), (0.3, 0.0), 0.115, w * 0.98),
        ),
    )  # fmt: skip
    scapula = Bone(
        (-0.13, -0.22), (-0.34, 0.5), 0.07, (0.06, 0.06, 0.2), (0.03, 0.03, 0.2), 0.014,
        depth=0.35, spongy=0.25, long=False,
        knobs=(Knob((0.02, 0.0), (0.14, 0.02), 0.055, 0.06),
               Knob((0.0, 0.0), (-0.19, 0.16), 0.045, 0.04),
               Knob((-0.03, -0.05), (-0.06, 0.05), 0.035, 0.03)),
    )  # fmt: skip
    clavicle = Bone(
        (-0.9, -0.28), (0.0, -0.4), 0.035, (0.05, 0.05, 0.2), (0.05, 0.045, 0.15), 0.013,
        bow=-0.03, host=(0.6, 0.88),
    )  # fmt: skip
    ribs = [
        Bone(
            (-0.85, -0.2 + 0.17 * i), (-0.3 + 0.02 * i, 0.08 + 0.19 * i), 0.028,
            (0.03, 0.03, 0.2), (0.03, 0.03, 0.2), 0.009, bow=-0.06, depth=0.6, spongy=0.3,
        )
        for i in range(5)
    ]  # fmt: skip
    sheaths = (
        Sheath((-0.9, 0.3), (-0.5, 0.5), 0.7, 0.55, 0.35),
        Sheath((-0.6, -0.3), (0.02, -0.16), 0.25, 0.3, 0.8),
        Sheath((0.05, -0.12), (0.16, 1.0), 0.3, 0.25, 0.85),
    )
    return Anatomy("shoulder", (humerus, scapula, clavicle, *ribs), sheaths, 9.0, 1.5)


def ankle(rng: np.random.Generator) -> Anatomy:
    """Distal tibia and fibula over the talus, mortise view."""
    w = _j(rng, 0.075)
    tibia = Bone(
        (-0.06, -0.95), (-0.05, 0.06), w, (w, w, 0.2), (_j(rng, 0.125), _j(rng, 0.13), 0.15),
        _j(rng, 0.026, 0.25), host=(0.45, 0.93),
        knobs=(Knob((0.82, -0.02), (1.09, -0.105), 0.075, 0.032),),
    )  # fmt: skip
    fibula = Bone(
        (0.12, -0.95), (0.145, 0.19), _j(rng, 0.035), (0.035, 0.035, 0.2),
        (_j(rng, 0.058), 0.05, 0.13), _j(rng, 0.013, 0.2), host=(0.45, 0.9),
    )  # fmt: skip
    talus = Bone(
        (-0.03, 0.075), (-0.03, 0.28), 0.12, (0.1, 0.1, 0.5), (0.14, 0.13, 0.5), 0.012,
        depth=0.8, spongy=0.45, long=False,
    )  # fmt: skip
    calcaneus = Bone(
        (-0.02, 0.25), (0.03, 0.6), 0.12, (0.13, 0.12, 0.4), (0.1, 0.1, 0.4), 0.012,
        depth=0.8, spongy=0.4, long=False,
    )  # fmt: skip
    tarsals = [_blob(rng, -0.16, 0.36, 0.06, 0.06), _blob(rng, 0.15, 0.42, 0.06, 0.07)]
    sheaths = (
        Sheath((0, -1.0), (0, 0.0), 0.27, 0.2, 0.85),
        Sheath((0, 0.0), (0.0, 0.25), 0.2, 0.25, 0.8),
        Sheath((0, 0.25), (0.0, 0.7), 0.25, 0.26, 0.8),
    )
    return Anatomy("ankle", (tibia, fibula, talus, calcaneus, *tarsals), sheaths, 9.0, 1.6)


def _rays(
    rng: np.random.Generator, mid: float, lengths: tuple[float, ...], spread: float, count: int
) -> tuple[list[Bone], list[Sheath]]:
    """Fanned chains of small tubular bones, proximal end at the top, with their skin."""
    bones: list[Bone] = []
    sheaths: list[Sheath] = []
    for i in range(count):
        centre = i - (count - 1) / 2
        angle = spread * centre + 0.03 * rng.uniform(-1, 1)
        x, y = 0.125 * centre, -0.42 + 0.02 * centre**2
        length_factor = (1 - 0.06 * abs(centre - 0.3)) * _j(rng, 1, 0.03)
        points = [(x, y)]
        for j, length in enumerate(lengths):
            length *= length_factor
            width = mid * (1 - 0.1 * j) * _j(rng, 1, 0.06)
            end_x, end_y = x + length * np.sin(angle), y + length * np.cos(angle)
            bones.append(
                Bone(
                    (x, y), (end_x, end_y), width, (width * 1.55, width * 1.5, 0.17),
                    (width * 1.4, width * 1.4, 0.13), width * _j(rng, 0.4, 0.15), depth=0.9,
                    bow=0.004 * rng.uniform(-1, 1), spongy=0.5,
                    host=(0.22, 0.85) if j < 2 else None,
                )
            )  # fmt: skip
            x = end_x + 0.016 * np.sin(angle)
            y = end_y + 0.016 * np.cos(angle)
            angle += 0.02 * rng.uniform(-1, 1)
            points.append((x, y))
        sheaths += [Sheath(a, b, mid * 2.0, mid * 1.9, 0.9) for a, b in pairwise(points)]
    return bones, sheaths


def hand(rng: np.random.Generator) -> Anatomy:
    """Metacarpals and phalanges, close view, with the distal carpals at the edge."""
    bones, sheaths = _rays(rng, _j(rng, 0.031), (0.4, 0.27, 0.16, 0.1), 0.1, 4)
    carpals = [
        _blob(rng, -0.19 + 0.105 * i, _j(rng, y, 0.03), 0.056, _j(rng, ry, 0.15))
        for i, (y, ry) in enumerate(((-0.495, 0.055), (-0.51, 0.075), (-0.5, 0.05), (-0.49, 0.055)))
    ]
    thumb = Bone(
        (0.3, -0.5), (0.52, -0.2), 0.036, (0.052, 0.05, 0.15), (0.05, 0.05, 0.15), 0.014,
        host=(0.25, 0.8),
    )  # fmt: skip
    tip = Bone(
        (0.53, -0.187), (0.65, -0.01), 0.033, (0.05, 0.05, 0.15), (0.045, 0.045, 0.13), 0.013
    )
    palm = (
        Sheath((-0.08, -0.5), (-0.12, -0.05), 0.26, 0.24, 0.42),
        Sheath((0.08, -0.5), (0.12, -0.05), 0.26, 0.24, 0.42),
        Sheath((0.25, -0.5), (0.55, -0.16), 0.16, 0.085, 0.6),
        Sheath((0.55, -0.16), (0.72, 0.1), 0.085, 0.07, 0.75),
    )
    return Anatomy("hand", (*bones, *carpals, thumb, tip), (*sheaths, *palm), 13.6, 2.1, 1.25)


def foot(rng: np.random.Generator) -> Anatomy:
    """Metatarsals and toes seen from above, with a row of tarsals."""
    bones, sheaths = _rays(rng, _j(rng, 0.026), (0.48, 0.2, 0.08, 0.06), 0.05, 4)
    great = Bone(
        (0.29, -0.42), (0.37, 0.03), 0.045, (0.07, 0.065, 0.15), (0.068, 0.065, 0.13), 0.017,
        host=(0.22, 0.8),
    )  # fmt: skip
    toe = Bone((0.375, 0.05), (0.37, 0.27), 0.042, (0.06, 0.06, 0.2), (0.05, 0.05, 0.15), 0.014)
    sesamoids = [_blob(rng, 0.345, -0.0, 0.018, 0.022), _blob(rng, 0.395, 0.0, 0.018, 0.022)]
    tarsals = [_blob(rng, -0.2 + 0.13 * i, -0.51, 0.06, 0.075) for i in range(5)]
    sole = (
        Sheath((-0.05, -0.7), (-0.1, -0.0), 0.3, 0.24, 0.45),
        Sheath((0.16, -0.7), (0.2, 0.0), 0.28, 0.25, 0.45),
        Sheath((0.37, 0.0), (0.37, 0.4), 0.1, 0.07, 0.8),
    )
    return Anatomy(
        "foot", (*bones, great, toe, *sesamoids, *tarsals), (*sheaths, *sole), 13.0, 1.8, 1.22
    )


PARTS: tuple[Callable[[np.random.Generator], Anatomy], ...] = (
    wrist, lower_leg, knee, hip, shoulder, ankle, hand, foot,
)  # fmt: skip
