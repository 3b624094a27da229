"""What the header of a radiograph says about it, and how far a finding on it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

__all__ = ["Extent", "ImageFacts", "region_of"]

_REGIONS = {
    "ANKLE": "ankle", "ARM": "humerus", "CALCANEUS": "foot", "CHEST": "chest",
    "CLAVICLE": "clavicle", "CSPINE": "neck_spine", "ELBOW": "elbow", "EXTREMITY": "limb",
    "FEMUR": "femur", "FINGER": "finger", "FOOT": "foot", "FOREARM": "forearm", "HAND": "hand",
    "HIP": "hip", "HUMERUS": "humerus", "JAW": "skull", "KNEE": "knee", "LEG": "lower_leg",
    "LOWERLEG": "lower_leg", "LSPINE": "lower_spine", "LSSPINE": "lower_spine", "PATELLA": "knee",
    "PELVIS": "pelvis", "RADIUS": "forearm", "RADIUSULNA": "forearm", "RIB": "ribs",
    "RIBS": "ribs", "SCAPULA": "shoulder", "SHOULDER": "shoulder", "SKULL": "skull",
    "SPINE": "spine", "SSPINE": "lower_spine", "STERNUM": "chest", "THIGH": "femur",
    "THUMB": "finger", "TIBIA": "lower_leg", "TIBIAFIBULA": "lower_leg", "FIBULA": "lower_leg",
    "TOE": "toe", "TSPINE": "chest_spine", "ULNA": "forearm", "WRIST": "wrist",
}  # fmt: skip


@dataclass(frozen=True)
class ImageFacts:
    """What the header of a radiograph says about it; empty where it does not."""

    body_part: str = ""
    """Body Part Examined (0018,0015), such as `WRIST`."""
    laterality: str = ""
    """`R`, `L`, `B` for both, or empty."""
    view: str = ""
    """View Position (0018,5101), such as `AP`."""
    columns: int = 0
    """Of the radiograph, in pixels; 0 where it is not known."""
    rows: int = 0
    """Likewise."""


class Extent(msgspec.Struct, frozen=True):
    """How far a finding reaches."""

    kind: Literal["outline", "map"]
    """`outline`: the regions that the network outlines; `map`: what lies inside the line of the
    map, which is no size of a lesion."""
    share: float
    """Of the exposed picture, 0 to 1; 0 where nothing is outlined."""
    diameter_mm: float | None
    """Longest diameter of the largest outlined region; None where it was not measured."""
    plane: Literal["detector", "patient", ""]
    """Where the millimetres are true; empty where that is not known."""


def region_of(body_part: str) -> str:
    """Return the end of the message id `region.…` of a DICOM body part; empty if unknown."""
    return _REGIONS.get("".join(c for c in body_part.upper() if c.isalpha()), "")
