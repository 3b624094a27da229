"""Agreement of an outline with the mask of the lesion, in the pixels of the network's input."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from orthoedge.training.segmentation.data import Mask

_NAN = float("nan")


class Overlap(NamedTuple):
    """Measures of one image. Distances are in pixels, and NaN where either side is empty."""

    dice: float
    """1 where both are empty."""
    iou: float
    """Intersection over union; 1 where both are empty."""
    surface_distance: float
    """Mean distance between the two borders, over the pixels of both."""
    hausdorff_95: float
    """95th percentile of these distances."""


def overlap(outline: Mask, lesion: Mask, distances: bool = True) -> Overlap:
    """Compare an outline with the mask of the lesion.

    Args:
        outline: bool (S, S).
        lesion: bool (S, S).
        distances: whether they are wanted; NaN if not.
    """
    both, area = int((outline & lesion).sum()), int(outline.sum()) + int(lesion.sum())
    dice, iou = (2 * both / area, both / (area - both)) if area else (1.0, 1.0)
    if not distances or not outline.any() or not lesion.any():
        return Overlap(dice, iou, _NAN, _NAN)
    between = border_distances(outline, lesion)
    return Overlap(dice, iou, float(between.mean()), float(np.quantile(between, 0.95)))


def border_distances(one: Mask, other: Mask) -> npt.NDArray[np.float64]:
    """Distances of the border pixels of each mask from the nearest border pixel of the other.

    Borders are the pixels of a mask with one of four neighbours outside, as in Heimann et al., IEEE
    Trans. Med. Imaging 28, 1251-1265 (2009); their mean is that paper's average symmetric surface
    distance. Neither mask may be empty.
    """
    # What is farther from both than their common box plays no part.
    rows, columns = (np.flatnonzero((one | other).any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    first, second = (mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (one, other))
    there = ndimage.distance_transform_edt(~second)[first]
    back = ndimage.distance_transform_edt(~first)[second]
    return np.concatenate((there, back))
