"""Overlap of a saliency map and the lesion, in the coordinates of the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import LetterboxTransform
from orthoedge.training.data.index import ImageRecord

Cover = npt.NDArray[np.float32]
"""(S, S): the share of each pixel of the network's input that is lesion, 0 to 1."""


def cover_of_boxes(boxes: Sequence[Box], size: int) -> Cover:
    """Cover of the union of boxes, which are fractions of the input."""
    cover: Cover = np.zeros((size, size), np.float32)
    edge = np.arange(size)
    for x0, y0, x1, y1 in boxes:
        across = np.clip(np.minimum(edge + 1, x1 * size) - np.maximum(edge, x0 * size), 0, 1)
        down = np.clip(np.minimum(edge + 1, y1 * size) - np.maximum(edge, y0 * size), 0, 1)
        np.maximum(cover, np.outer(down, across).astype(np.float32), out=cover)
    return cover


def cover_of_mask(mask: npt.NDArray[np.bool_], placement: LetterboxTransform, size: int) -> Cover:
    """Cover of a mask (H, W) of the radiograph, transformed like its pixels in preprocessing.

    Whatever lies outside the collimated field is cropped with it.
    """
    fx0, fy0, fx1, fy1 = placement.field
    cx0, cy0, cx1, cy1 = placement.content
    field = mask[fy0:fy1, fx0:fx1].astype(np.float32)
    shape = (cx1 - cx0, cy1 - cy0)
    shrinks = shape[0] < field.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST  # adds no intermediate values
    cover: Cover = np.zeros((size, size), np.float32)
    cover[cy0:cy1, cx0:cx1] = cv2.resize(field, shape, interpolation=interpolation)
    return cover


def read_cover(
    record: ImageRecord, shape: tuple[int, int], placement: LetterboxTransform, size: int
) -> Cover | None:
    """Read the cover of an image's mask; None without a mask, or if all of it is cropped away.

    A mask whose size differs from its radiograph's is stretched to it, as boxes are.

    Args:
        record: with its mask.
        shape: height and width of the radiograph.
        placement: of the input on the radiograph.
        size: S.

    Raises:
        DataError: the mask is no image.
    """
    if record.mask is None:
        return None
    # Not by path: OpenCV cannot open every name on every system.
    data = np.fromfile(record.mask, np.uint8)
    # At its own depth, because a 1 of 16 bits would be 0 of 8; not rotated, like the radiograph.
    depth = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        mask = cv2.imdecode(data, depth) if len(data) else None
    except cv2.error:  # a header of an absurd size
        mask = None
    if mask is None:
        raise DataError(f"{record.mask}: not an image; it is the mask of {record.path}")
    if mask.shape != shape:
        mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
    cover = cover_of_mask(mask > 0, placement, size)
    return cover if cover.any() else None


def to_cells(cover: Cover, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the covered share of each cell of a map (h, w) of the same input."""
    cells = cv2.resize(cover, shape[::-1], interpolation=cv2.INTER_AREA)
    return cells.astype(np.float32, copy=False)


def energy_inside(saliency: npt.NDArray[np.floating], cells: npt.NDArray[np.float32]) -> float:
    """Energy-based pointing game (Wang et al., Score-CAM, CVPR Workshops 2020).

    The share of the map's sum inside the lesion. A partly covered cell counts with its covered
    share, so a lesion smaller than one cell cannot reach 1. An even map reaches the share of the
    input that is lesion.

    Args:
        saliency: (h, w), one class, not negative. A map that is zero everywhere scores 0.
        cells: (h, w), of `to_cells`.
    """
    total = float(saliency.sum())
    return float((saliency * cells).sum()) / total if total > 0 else 0.0
