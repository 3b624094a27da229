"""Phantom radiographs: rendered, labelled images with the lesion marked.

In them no source is confounded with a class: every nuisance comes from one random stream that
never sees the label, the pathology from another. They say nothing about patients.

The image follows the Beer-Lambert law: I = exp(-Σ μ·path), plus a broad scatter veil,
focal-spot blur and quantum noise; the display shows -log I, so bone is bright.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.training.data.index import write_table
from orthoedge.training.phantoms import lesions
from orthoedge.training.phantoms import scene as scenes
from orthoedge.training.phantoms.bones import F32, carve, f32, lay, noise_field, soft_tissue
from orthoedge.training.phantoms.hardware import field_mask, render_hardware
from orthoedge.training.phantoms.lesion_site import Site

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
COLUMNS = ("path", "label", "patient_id", "source", "boxes", "mask", "body_part", "pathology")
_SUBTLE = 0.2
_SHEET = 6


@dataclass(frozen=True)
class Phantom:
    """One radiograph.

    `image` is uint8 (H, W), bone bright. `mask` is uint8 (H, W), 255 where the lesion shows
    and all 0 where there is none. `label` is one of `LABELS`, `pathology` its kind.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    label: str
    body_part: str
    pathology: str


def render(seed: int, index: int, size: int = 256) -> Phantom:
    """Render phantom `index` of the set `seed` at `size` × `size` pixels.

    Fully determined by its arguments. Labels take turns, so every set is balanced.
    """
    label = LABELS[index % len(LABELS)]
    scene, rng = scenes.stage(seed, index)
    chance = np.random.default_rng([seed, index, 1])
    kind = str(chance.choice(lesions.KINDS[label]))
    subtle = bool(chance.random() < _SUBTLE)

    unit = size / 256
    bone, mass, mask = (np.zeros((size, size), dtype=np.float32) for _ in range(3))
    grain = noise_field(rng, int(1.6 * size), int(1.2 * size), 0.75 * unit, 1.7 * unit)
    for i, part in enumerate(scene.anatomy.bones):
        host = i == scene.host
        strip = carve(part, scene.pose, size, grain, margin=0.16 if host else 0.01)
        if strip is None:
            continue
        if part.long:
            scenes.look_alikes(strip, scene, rng, unit)
        if not host:
            lay(strip.bone, strip.to_image, bone)
            continue
        row = strip.row(scene.host_t)
        at = int(np.clip(row, 0, len(strip.left) - 1))
        half = max(float(strip.right[at] - strip.left[at]) / 2, 5 * unit)
        site = Site(row, half, unit, subtle)
        for piece in lesions.apply(kind, strip, site, chance):
            move = strip.to_image @ np.vstack([piece.move, [0.0, 0.0, 1.0]])
            lay(piece.bone, move, bone)
            if kind != "none":
                lay(piece.mask, move, mask)
        lay(strip.soft, strip.to_image, mass)

    opaque, field = render_hardware(scene, size), field_mask(scene, size)
    image = _expose(scene, rng, bone, mass, opaque, field)
    marked = lesions.swatch(mask, unit, kind)
    if field is not None:
        marked[field < 128] = 0
    if opaque is not None:
        marked[opaque > 0.3] = 0
    return Phantom(image, marked, label, scene.anatomy.name, kind)


def _expose(
    scene: scenes.Scene,
    rng: np.random.Generator,
    bone: F32,
    mass: F32,
    opaque: F32 | None,
    field: npt.NDArray[np.uint8] | None,
) -> npt.NDArray[np.uint8]:
    """Convert path lengths in pixels, each (H, W), to the 8-bit display image."""
    anatomy, size = scene.anatomy, len(bone)
    unit = size / 256
    # Harder beams flatten bone more than soft tissue.
    mu_bone = anatomy.mu_bone * scene.kv * scene.porosity / size
    mu_soft = anatomy.mu_soft * scene.kv**0.5
    soft = soft_tissue(scene.anatomy.sheaths, scene.pose, size, scene.girth)
    soft *= np.float32(1 / size)
    soft += scenes.veil(scene, rng, size) * (soft > 0.02)
    depth = np.float32(mu_bone) * bone
    depth += np.float32(mu_soft) * (np.maximum(soft, 0) + mass * np.float32(1 / size))
    if opaque is not None:
        depth += np.float32(2.2) * opaque
    light = f32(cv2.GaussianBlur(cv2.exp(-depth), (0, 0), max(scene.focus * unit, 0.3)))
    small = cv2.resize(light, (32, 32), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 5)
    light += np.float32(scene.scatter) * f32(cv2.resize(small, (size, size)))
    # With many quanta the Poisson law is normal, with variance equal to the mean. The dose is
    # per pixel of a 256-pixel image; pixels of smaller images average several of those.
    quanta = np.float32(scene.dose / unit**2)
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    light += np.sqrt(light / quanta) * grain
    shown = -f32(cv2.log(np.maximum(light, np.float32(2e-3))))
    if scene.detail > 0.05:
        broad = cv2.resize(shown, (64, 64), interpolation=cv2.INTER_AREA)
        broad = cv2.GaussianBlur(broad, (0, 0), 6)
        shown += np.float32(scene.detail) * (shown - f32(cv2.resize(broad, (size, size))))

    sample = shown[::3, ::3]
    if field is not None:
        sample = sample[field[::3, ::3] > 127]
    low, high = np.percentile(sample, (2.0, 99.3))
    span = float(high - low)
    low, high = low + scene.window[0] * span, high + scene.window[1] * span
    grey = np.clip((shown - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    grey = f32(cv2.pow(grey, scene.gamma)) * np.float32(255)
    if field is not None:
        inside = field.astype(np.float32) * np.float32(1 / 255)
        grey = grey * inside + np.float32(scene.outside) * (1 - inside)
    return np.asarray(np.rint(grey), dtype=np.uint8)


def box(mask: npt.NDArray[np.uint8]) -> list[list[float]]:
    """Bounding box of the mask as [[x0, y0, x1, y1]] in fractions of width and height."""
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return []
    rows, columns = mask.shape
    return [[round(v, 5) for v in (x / columns, y / rows, (x + w) / columns, (y + h) / rows)]]


def _write_one(index: int, out: Path, seed: int, size: int) -> tuple[str, ...]:
    """Write image and mask of one phantom and return its row of the index."""
    phantom = render(seed, index, size)
    name = f"{index:05d}.png"
    _save(out / "images" / name, phantom.image)
    boxes = box(phantom.mask)
    if boxes:
        _save(out / "masks" / name, phantom.mask)
    lesion = (json.dumps(boxes), f"masks/{name}") if boxes else ("", "")
    known = (f"images/{name}", phantom.label, str(index), "phantom")
    return (*known, *lesion, phantom.body_part, phantom.pathology)


def _save(path: Path, image: npt.NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OSError(f"OpenCV could not encode {path}")
    write_atomic(path, data.tobytes())


def write_phantoms(
    out: Path,
    count: int,
    seed: int,
    size: int = 256,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write `count` phantoms with masks, an index and a contact sheet per class under `out`.

    The same arguments give the same bytes, whatever `jobs` is. `index.csv` is written last
    and at once, so a folder that has one is complete. `progress` is called with the number
    of images done.
    """
    (out / "index.csv").unlink(missing_ok=True)  # an old index must not list new images
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(parents=True, exist_ok=True)
    work = partial(_write_one, out=out, seed=seed, size=size)
    rows: list[tuple[str, ...]] = []

    def collect(results: Iterable[tuple[str, ...]]) -> None:
        for row in results:
            rows.append(row)
            progress(len(rows))

    if jobs > 1:
        context = multiprocessing.get_context("spawn")
        # There is one process per core already; OpenCV's own threads would compete with them.
        with context.Pool(jobs, cv2.setNumThreads, (1,)) as pool:
            collect(pool.imap(work, range(count), chunksize=16))
    else:
        collect(map(work, range(count)))

    for label in LABELS:
        _contact_sheet(out, [row[0] for row in rows if row[1] == label], label, size)
    write_table(out / "index.csv", COLUMNS, rows, newline="\n")


def _contact_sheet(out: Path, paths: list[str], label: str, size: int) -> None:
    """Write a 6 × 6 grid of the first images of a class."""
    sheet = np.zeros((_SHEET * size, _SHEET * size), dtype=np.uint8)
    for i, path in enumerate(paths[: _SHEET * _SHEET]):
        y, x = divmod(i, _SHEET)
        # cv2.imread crashes on a name that is not UTF-8.
        data = np.frombuffer((out / path).read_bytes(), np.uint8)
        tile = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if tile is None:
            raise OSError(f"could not read back {out / path}")
        sheet[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile
    _save(out / f"contact_{label}.png", sheet)
