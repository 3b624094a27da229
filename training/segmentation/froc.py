"""Lesions found at a number of false alarms per image: free-response ROC analysis.

D. P. Chakraborty, Maximum likelihood analysis of free-response receiver operating characteristic
(FROC) data, Med. Phys. 16, 561-568 (1989): the share of lesions that are marked against the number
of wrong marks per image, as the threshold on the marks' ratings falls. A mark is a connected region
of the mask. It hits a lesion if their intersection is a tenth of their union, as in Baumgartner et
al., nnDetection, MICCAI 2021; further marks on a lesion that is hit are no false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from orthoedge.benchmarks.metrics.bootstrap import Array, ratio
from orthoedge.training.segmentation.data import Mask

RATES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""False alarms per image at which sensitivity is given."""
_LEAST = math.log(0.1 / 0.9)  # logit of the faintest pixel of a mark
_HIT = 0.1  # intersection over union
_EIGHT = np.ones((3, 3), np.uint8)  # neighbours
MISSED = -math.inf
"""Rating of a lesion that no mark hits."""


@dataclass(frozen=True)
class Marks:
    """Marks on one image, rated by their highest logit."""

    lesions: npt.NDArray[np.float64]
    """(L,) rating of the best mark on each lesion, or `MISSED`."""
    false_alarms: npt.NDArray[np.float64]
    """(F,) ratings of the marks that hit no lesion."""


def mark(logits: npt.NDArray[np.float32], lesion: Mask) -> Marks:
    """Find the marks on an image and the lesions that they hit.

    Args:
        logits: (S, S).
        lesion: bool (S, S); its connected regions are the lesions.
    """
    marks, count = ndimage.label(logits >= _LEAST, _EIGHT)
    lesions, known = ndimage.label(lesion, _EIGHT)
    numbers = np.arange(1, count + 1)
    ratings = np.empty(0)
    if count:
        ratings = np.asarray(ndimage.maximum(logits, marks, numbers), np.float64)
    pairs = (marks.astype(np.int64) * (known + 1) + lesions).ravel()
    shared = np.bincount(pairs, minlength=(count + 1) * (known + 1)).reshape(count + 1, known + 1)
    union = shared.sum(1)[1:, None] + shared.sum(0)[1:] - shared[1:, 1:]
    hits = shared[1:, 1:] >= _HIT * union  # (F, L)
    best = np.where(hits, ratings[:, None], MISSED).max(0, initial=MISSED)
    return Marks(best, ratings[~hits.any(1)])


class FreeResponse:
    """Marks on a set of images.

    Args:
        images: marks on each of N images.
        counted: bool (N,), the images whose lesions count; the false alarms of all images do.
    """

    def __init__(self, images: Sequence[Marks], counted: npt.NDArray[np.bool_]) -> None:
        pairs = zip(images, counted, strict=True)
        lesions = [marks.lesions if own else marks.lesions[:0] for marks, own in pairs]
        self._images = len(images)
        self._found = np.concatenate([*lesions, np.empty(0)])
        self._image = np.repeat(np.arange(len(images)), [len(own) for own in lesions])
        alarms = [own.false_alarms for own in images]
        order = np.argsort(-np.concatenate([*alarms, np.empty(0)]), kind="stable")
        self._alarms = np.concatenate([*alarms, np.empty(0)])[order]
        self._alarm_image = np.repeat(np.arange(len(images)), [len(own) for own in alarms])[order]

    @property
    def lesions(self) -> int:
        """Number of lesions."""
        return len(self._found)

    def sensitivity(self, rates: Sequence[float], weights: Array) -> Array:
        """Share of the lesions that are hit, at the threshold with at most so many false alarms.

        Args:
            rates: false alarms per image, T.
            weights: (R, N), how often each image was drawn.

        Returns:
            (R, T); NaN where no lesion was drawn.
        """
        alarms = np.cumsum(weights[:, self._alarm_image], 1) / weights.sum(1, keepdims=True)
        drawn = weights[:, self._image]
        columns = []
        for rate in rates:
            # The threshold lies at the rating of the first alarm that would be one too many.
            allowed = (alarms <= rate + 1e-9).sum(1)
            threshold = np.append(self._alarms, MISSED)[allowed]
            hit = self._found > threshold[:, None]
            columns.append(ratio((drawn * hit).sum(1), drawn.sum(1)))
        return np.stack(columns, 1)

    def curve(self) -> tuple[Array, Array]:
        """False alarms per image, rising, and sensitivity at each, for the images as they are."""
        rates = np.arange(len(self._alarms) + 1) / self._images
        thresholds = np.append(self._alarms, MISSED)
        hit = (self._found > thresholds[:, None]).sum(1)
        return rates, hit / max(1, len(self._found))
