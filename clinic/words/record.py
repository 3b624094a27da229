"""What words are made from."""

from __future__ import annotations

import msgspec

from orthoedge.runtime.decision import Decision
from orthoedge.runtime.image_io.radiograph import Plane, ReasonId
from orthoedge.runtime.preprocess import LetterboxTransform

__all__ = ["FindingRecord", "OutlinedRegion"]


class OutlinedRegion(msgspec.Struct, frozen=True):
    """Size of a region that the network outlined."""

    area_px: float
    """Area, in pixels of the radiograph."""
    diameter_mm: float | None
    """Longest diameter; None where the file states no spacing."""
    plane: Plane | None
    """Where the millimetres are true; None where that cannot be determined."""
    contour: tuple[tuple[float, float], ...] = ()
    """Its border, closed: x and y in pixels of the radiograph."""


class FindingRecord(msgspec.Struct, frozen=True):
    """What words are made from: a part of the JSON of a finding."""

    label: str
    decision: Decision
    probabilities: dict[str, float]
    label_set: tuple[str, ...]
    reasons: tuple[str, ...]
    saliency_map: list[list[float]]
    placement: LetterboxTransform
    input_size: int
    reason_ids: tuple[ReasonId, ...] = ()
    """Empty in a record that is older than they are; its reasons are then in English."""
    lesions: tuple[OutlinedRegion, ...] | None = None
    """None where the bundle outlines nothing."""

    @property
    def largest_measured(self) -> OutlinedRegion | None:
        """The largest outlined region, where it is measured in millimetres."""
        measured = [lesion for lesion in self.lesions or () if lesion.diameter_mm is not None]
        return max(measured, key=lambda lesion: lesion.area_px, default=None)
