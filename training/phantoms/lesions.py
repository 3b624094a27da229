"""Pathology: the effect of a fracture or a tumour on a straightened bone.

All lesions take their chances from the generator they are given, so the pathology of an
image is independent of everything else in it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.phantoms.benign import exostosis, fibroma, lytic
from orthoedge.training.phantoms.bones import F32, Strip
from orthoedge.training.phantoms.fracture import fracture
from orthoedge.training.phantoms.lesion_site import Piece, Site, still
from orthoedge.training.phantoms.malignant import malignant

KINDS: dict[str, tuple[str, ...]] = {
    "fracture": ("transverse", "oblique", "spiral", "comminuted"),
    "non-affected": ("none",),
    "tumor-benign": ("lytic", "exostosis", "fibroma"),
    "tumor-malignant": ("permeative", "sunburst", "onion-skin", "destructive"),
}


def apply(kind: str, strip: Strip, site: Site, rng: np.random.Generator) -> list[Piece]:
    """Put the lesion `kind` (a value of `KINDS`) at `site` and return the bone's pieces."""
    if kind == "none":
        return [Piece(strip.bone, np.zeros_like(strip.bone), still())]
    if kind in KINDS["fracture"]:
        return fracture(kind, strip, site, rng)
    draw = {"lytic": lytic, "exostosis": exostosis, "fibroma": fibroma}.get(kind)
    mask = draw(strip, site, rng) if draw else malignant(kind, strip, site, rng)
    return [Piece(strip.bone, mask, still())]


def swatch(mask: F32, unit: float, kind: str) -> npt.NDArray[np.uint8]:
    """Close the cracks of an accumulated mask and make it 0 or 255, uint8 (H, W).

    A tumour's layers and islands belong together; the limbs of a fracture line do not.
    """
    width = max(3, int(2 * round((7 if kind in KINDS["tumor-malignant"] else 3) * unit) + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    binary = (mask > 0.4).astype(np.uint8) * np.uint8(255)
    return np.asarray(cv2.morphologyEx(binary, cv2.MORPH_CLOSE, kernel), dtype=np.uint8)
