"""What words are made from."""

from __future__ import annotations

import msgspec

from orthoedge.runtime.decision import Decision
from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.preprocess import LetterboxTransform

__all__ = ["FindingRecord"]


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
