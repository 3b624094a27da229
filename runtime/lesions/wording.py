"""Sizes of outlined regions in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.lesions.measure import THRESHOLD, Lesion
from orthoedge.runtime.settings import plain

_DIGITS = 2  # of a size; the network's cells allow no more
_PLANES = {
    "detector": "outlined sizes in mm are at the detector, where the bone is magnified: the lesion "
    "itself is smaller",
    "patient": "outlined sizes in mm are calibrated, and true at one depth of the body only",
    None: "outlined sizes in mm: the file does not state in which plane, so the lesion may be "
    "smaller by the magnification",
}


def size_of(lesion: Lesion) -> str:
    """The longest diameter, in millimetres where they are known, with their plane."""
    if lesion.diameter_mm is None:
        return f"{plain(lesion.diameter_px, _DIGITS)} px across"
    where = {"detector": "at the detector", "patient": "calibrated", None: "plane not stated"}
    return f"{plain(lesion.diameter_mm, _DIGITS)} mm across, {where[lesion.plane]}"


def area_of(lesion: Lesion) -> str:
    """The area, in square millimetres where they are known."""
    if lesion.area_mm2 is None:
        return f"area {plain(lesion.area_px, _DIGITS)} px"
    return f"area {plain(lesion.area_mm2, _DIGITS)} mm²"


def summary_of(lesions: Sequence[Lesion]) -> str:
    """How many regions are outlined and how large they are, in one line."""
    if not lesions:
        return "nothing is outlined"
    largest = max(lesions, key=lambda lesion: lesion.area_px)
    if len(lesions) == 1:
        return f"1 region outlined, {size_of(largest)}"
    return f"{len(lesions)} regions outlined, the largest {size_of(largest)}"


def caveat_of(lesions: Sequence[Lesion]) -> tuple[str, ...]:
    """The note on millimetres; none where nothing is measured in them."""
    measured = [lesion for lesion in lesions if lesion.diameter_mm is not None]
    return (_PLANES[measured[0].plane],) if measured else ()


def seen_of(mask: npt.NDArray[np.float32]) -> str:
    """What a classifier of regions was shown, in one line.

    Args:
        mask: float32, 0 to 1, of one radiograph.
    """
    if (mask >= THRESHOLD).any():
        return "the label is that of the outlined region, not of the whole image"
    return "nothing is outlined, so the whole image was classified"
