"""Flips: images that compression turns from right to wrong, and from wrong to right.

Negative flips are the losses that an unchanged accuracy hides (Yan et al., Positive-Congruent
Training, CVPR 2021). Agreement with the teacher counts both kinds alike, so it also fails a student
that is better than its teacher.
"""

from __future__ import annotations

import msgspec
import numpy as np

from orthoedge.benchmarks.metrics.bootstrap import mean_intervals
from orthoedge.runtime.engine import Outputs
from orthoedge.training.data.dataset import RadiographDataset

_SEED = 0  # of the bootstrap: the same outputs give the same intervals


class Flips(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Flips on the images of one label, or on all; N images, each answered by both networks."""

    label: str | None
    """None: the images of all labels."""
    images: int
    negative: int
    """Images that the teacher gets right and the compressed network wrong."""
    positive: int
    """Images that the teacher gets wrong and the compressed network right."""
    interval: tuple[float, float]
    """95 % bootstrap interval of `net` over patients."""

    @property
    def net(self) -> float:
        """Negative minus positive flips as a share of the images; below 0 is a gain."""
        return (self.negative - self.positive) / self.images

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        return (
            f"{self.negative} − {self.positive} of {self.images}: {100 * self.net:+.1f} % "
            f"[{low:+.1f}, {high:+.1f}]"
        )


def count_flips(
    outputs: Outputs, teacher: Outputs, data: RadiographDataset, labels: tuple[str, ...]
) -> tuple[Flips, ...]:
    """Compare the labels of two networks on the same N images, of which each of C labels has some.

    Returns:
        Flips on all images first, then per label.
    """
    right = (teacher.logits.argmax(1) == data.labels, outputs.logits.argmax(1) == data.labels)
    lost = right[0].astype(np.float64) - right[1]  # 1: negative flip, -1: positive flip
    groups = [record.patient_id for record in data.records]
    masks = [np.full(len(data), True), *(data.labels == c for c in range(len(labels)))]
    rows = np.stack([np.where(mask, lost, np.nan) for mask in masks])
    flips = []
    intervals = mean_intervals(rows, groups, data.labels, _SEED)
    for label, mask, interval in zip((None, *labels), masks, intervals, strict=True):
        assert interval is not None  # every label has images
        flips.append(
            Flips(
                label=label,
                images=int(mask.sum()),
                negative=int((lost[mask] > 0).sum()),
                positive=int((lost[mask] < 0).sum()),
                interval=(interval.low, interval.high),
            )
        )
    return tuple(flips)
