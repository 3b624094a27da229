"""Pathology: what a fracture or a tumour does to a straightened bone.

Every function changes a `Strip` in place or cuts it into pieces, and says which pixels of
the strip show the lesion. All of them take their chances from the generator they are given,
so the pathology of an image is independent of everything else in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.phantom_bones import F32, F64, Strip, noise_field

KINDS: dict[str, tuple[str, ...]] = {
    "fracture": ("transverse", "oblique", "spiral", "comminuted"),
    "non-affected": ("none",),
    "tumor-benign": ("lytic", "exostosis", "fibroma"),
    "tumor-malignant": ("permeative", "sunburst", "onion-skin", "destructive"),
}


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
    """Where a lesion sits in its strip, in pixels: row, half-width of the bone there, scale.

    `unit` is one pixel of a 256-pixel image, so that a lesion looks the same at every size.
    """

    row: float
    half: float
    unit: float
    subtle: bool


def _still() -> F64:
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _grid(strip: Strip) -> tuple[F32, F32]:
    rows, columns = strip.bone.shape
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)[None, :]
    return y, x


def _edges(strip: Strip, site: Site) -> tuple[float, float]:
    row = int(np.clip(site.row, 0, len(strip.left) - 1))
    return float(strip.left[row]), float(strip.right[row])


def apply(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> list[Piece]:
    """Put the lesion `kind` (a value of `KINDS`) at `site` and return the bone's pieces."""
    if kind == "none":
        return [Piece(strip.bone, np.zeros_like(strip.bone), _still())]
    if kind in KINDS["fracture"]:
        return _fracture(kind, strip, site, rng)
    draw = {"lytic": _lytic, "exostosis": _exostosis, "fibroma": _fibroma}.get(kind)
    mask = draw(strip, site, rng) if draw else _malignant(kind, strip, site, rng)
    return [Piece(strip.bone, mask, _still())]


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
    move: F64 = cv2.getRotationMatrix2D((x, y), degrees, 1.0)
    move[:, 2] += (dx, dy)
    return move


def _fracture(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> list[Piece]:
    """Cut the strip along curves on both walls and move the pieces apart."""
    y, x = _grid(strip)
    left, right = _edges(strip, site)
    middle, unit = (left + right) / 2, site.unit
    inside = cv2.dilate((strip.bone > 0).astype(np.float32), np.ones((3, 3), np.uint8))

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
        if rng.random() < 0.15:  # shortened: the ends ride over each other
            step, gap = site.half * rng.uniform(1.2, 1.8), -site.half * rng.uniform(0.2, 0.6)
    else:
        step = site.half * rng.uniform(0.1, 0.3)
        gap = unit * rng.uniform(1.5, 3.2)
        degrees = rng.uniform(0.0, 7.0)
    side = rng.choice((-1.0, 1.0))
    degrees *= rng.choice((-1.0, 1.0))

    spread = site.half * rng.uniform(0.45, 0.9) if kind == "comminuted" else 0.0
    soft = np.float32(1.0)
    walls = []
    for wall in (front, back):
        upper = np.clip((wall - spread - y) * soft + 0.5, 0, 1)
        lower = np.clip((y - wall - spread) * soft + 0.5, 0, 1)
        walls.append((upper, lower))
    upper = (walls[0][0] + walls[1][0]) * np.float32(0.5)
    lower = (walls[0][1] + walls[1][1]) * np.float32(0.5)
    reach = np.float32(max(2.8 * unit, abs(gap) * 0.7))
    near = np.minimum(np.abs(y - front + spread), np.abs(y - back + spread)) < reach
    low = np.minimum(np.abs(y - front - spread), np.abs(y - back - spread)) < reach
    # The piece with the shorter way to its end is the one that moves.
    at = (site.row - strip.row0) / strip.length
    moved = _rotation(degrees, middle, site.row, side * step, (gap if at >= 0.5 else -gap) * 1.0)
    top_move, bottom_move = (_still(), moved) if at >= 0.5 else (moved, _still())
    pieces = [
        Piece(strip.bone * upper, near * inside, top_move),
        Piece(strip.bone * lower, low * inside, bottom_move),
    ]
    if kind == "comminuted":
        rest = np.clip(1 - upper - lower, 0, 1)
        owner = np.zeros(strip.bone.shape, dtype=np.int32)
        seeds = int(rng.integers(2, 5))
        best = np.full(strip.bone.shape, 1e9, dtype=np.float32)
        for i in range(seeds):
            cx = middle + site.half * rng.uniform(-0.9, 0.9)
            cy = site.row + spread * rng.uniform(-0.8, 0.8)
            distance = (x - cx) ** 2 + (y - cy) ** 2
            owner[distance < best] = i
            np.minimum(best, distance, out=best)
        for i in range(seeds):
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
    left, right = _edges(strip, site)
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
    return Piece(bone, (band * inside * (fade > 0.3)).astype(np.float32), _still())


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
    y, x = _grid(strip)
    left, right = _edges(strip, site)
    middle = (left + right) / 2
    bump = np.exp(-(((y - site.row) / np.float32(ry)) ** 4)) * np.float32(amount)
    way = np.clip((x - middle) * np.float32(side) / np.float32(site.half) + 0.6, 0, 1)
    if side == 0:
        way = np.ones_like(x)
    source = middle + (x - middle) / (1 + bump * way)
    rows = np.broadcast_to(y, strip.bone.shape)
    strip.bone = cv2.remap(
        strip.bone, source.astype(np.float32), np.ascontiguousarray(rows), cv2.INTER_LINEAR
    )


def _bite(
    strip: Strip, s: F32, radius: float, depth: float, rim: float, rim_width: float, edge: float
) -> None:
    """Take bone out where s < 1 and lay a sclerotic rim of `rim` on the outline."""
    inside = np.clip((1 - s) * np.float32(radius / edge) + 0.5, 0, 1)
    bowl = inside * (0.62 + 0.38 * np.sqrt(np.clip(1 - s * s, 0, 1)))
    level = cv2.blur(strip.bone, (9, 9))
    ring = np.exp(-(((s - 1.04) * np.float32(radius / rim_width)) ** 2))
    strip.bone = strip.bone * (1 - np.float32(depth) * bowl) + np.float32(rim) * ring * level


def _outline(s: F32, strip: Strip, limit: float) -> F32:
    """The visible part of a lesion within the bone."""
    body = cv2.dilate((strip.bone > 0).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.asarray((s < limit) * body, dtype=np.float32)


def _lytic(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """A well-defined lucency with a sclerotic rim, sometimes expansile, septate or calcified."""
    y, x = _grid(strip)
    left, right = _edges(strip, site)
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
        cells = noise_field(rng, *s.shape, 4.5 * site.unit, 4.5 * site.unit)
        strip.bone += np.float32(0.35) * before * within * np.exp(-((cells / 0.22) ** 2))
    elif extra < 0.55:
        dots = noise_field(rng, *s.shape, 1.3 * site.unit, 1.3 * site.unit)
        strip.bone += np.float32(0.8) * before * within * np.clip(dots - 1.1, 0, 1)
    return _outline(s, strip, 1.12)


def _fibroma(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """An eccentric, lobulated cortical lucency with a scalloped rim on the marrow side."""
    y, x = _grid(strip)
    left, right = _edges(strip, site)
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


def _exostosis(strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """A bony outgrowth continuous with the cortex, on a stalk or broad-based, with a cap."""
    y, x = _grid(strip)
    left, right = _edges(strip, site)
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
    wobble = noise_field(rng, *strip.bone.shape, 5 * site.unit, 5 * site.unit) * (0.07 * size)

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
    dots = noise_field(rng, *strip.bone.shape, 1.8 * site.unit, 1.8 * site.unit)
    growth = 1.2 * (outer - inner) + inner * (0.5 + 0.12 * dots + 0.3 * np.clip(dots - 1, 0, 1))
    growth *= np.float32(rng.uniform(0.9, 1.25) if not site.subtle else 0.6)
    inside_x = (x - wall) * np.float32(side)
    outside = np.clip(inside_x / (3 * site.unit) + 1.0, 0.06, 1)
    strip.bone = strip.bone + growth * outside
    seen = (outer > 0.15 * size) * (inside_x > -0.25 * size)
    return np.asarray(seen, dtype=np.float32)


def _malignant(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> F32:
    """Ill-defined destruction, breach, periosteal reaction and mass, in the mix of the kind."""
    y, x = _grid(strip)
    unit, half = site.unit, site.half
    left, right = _edges(strip, site)
    side = float(rng.choice((-1.0, 1.0)))
    force = rng.uniform(0.45, 0.65) if site.subtle else rng.uniform(0.85, 1.1)
    reach = float(np.clip(half * rng.uniform(1.1, 2.0), 16 * unit, 38 * unit))
    cx = (left + right) / 2 + side * half * rng.uniform(0.0, 0.4)
    rx = half * rng.uniform(0.8, 1.1)
    blotch = noise_field(rng, *strip.bone.shape, 6 * unit, 6 * unit)
    hole = unit * rng.uniform(1.2, 2.6)
    fine = noise_field(rng, *strip.bone.shape, hole, 1.3 * hole)
    fine = (fine + 0.6 * noise_field(rng, *strip.bone.shape, 3.5 * unit, 4.5 * unit)) / 1.17
    s = np.sqrt(((y - site.row) / reach) ** 2 + ((x - cx) / (rx * 1.15)) ** 2) + 0.16 * blotch
    zone = np.clip((1.25 - s) / 0.7, 0, 1)
    zone = (zone * zone * (3 - 2 * zone)).astype(np.float32)
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
        fade = np.clip(1 - beyond / (height * (1 + 0.25 * blotch)), 0, 1)
        reaction += dense * spicule * fade * out * rows
    if kind == "onion-skin":
        layers = int(rng.integers(2, 5))
        wave = 0.5 * unit * blotch
        for i in range(layers):
            lift = (i + 1) * unit * rng.uniform(2.0, 2.8) * (0.25 + 0.75 * rows) + wave
            line = np.exp(-(((beyond - lift) / (0.75 * unit)) ** 2)) * rows
            reaction += (0.75 - 0.1 * i) * dense * line
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


def swatch(mask: F32, unit: float, kind: str) -> npt.NDArray[np.uint8]:
    """Close the cracks of an accumulated mask and make it 0 or 255, uint8 (H, W).

    A tumour's layers and islands belong together; the limbs of a fracture line do not.
    """
    width = max(3, int(2 * round((7 if kind in KINDS["tumor-malignant"] else 3) * unit) + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    binary = (mask > 0.4).astype(np.uint8) * np.uint8(255)
    return np.asarray(cv2.morphologyEx(binary, cv2.MORPH_CLOSE, kernel), dtype=np.uint8)
