"""What became of a file that was sent, and the error of a destination that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orthoedge.runtime.errors import OrthoEdgeError

State = Literal["stored", "retry", "refused"]


class DestinationError(OrthoEdgeError):
    """A destination cannot be reached, or does not offer what was asked; later it may."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    file: Path
    sop_instance_uid: str
    """Of the object in the file; empty where the file is no DICOM file."""
    state: State
    """`stored`: the destination has it. `retry`: it may take it later. `refused`: it will not take
    this object however often it is sent."""
    reason: str
    """Why not `stored`, or what the destination remarked; empty without a remark. No patient
    data."""


@dataclass(frozen=True)
class Reference:
    """One object that a destination is asked to commit to keep."""

    sop_class_uid: str
    sop_instance_uid: str
