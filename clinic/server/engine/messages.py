"""What the server and its engine's process say to each other: a length, then msgpack.

A message is checked like any input, for the process decodes files from anywhere.
"""

from __future__ import annotations

import struct

import msgspec

from orthoedge.clinic.history.records import PatientFacts, Picture, SpacingPlane, StudyFacts

__all__ = [
    "FRAME",
    "LARGEST",
    "AnswerFile",
    "FileAnswer",
    "HalvePixels",
    "Made",
    "MeasureExtents",
    "OpenEngine",
    "PutInWords",
    "Request",
    "Started",
    "encode",
]

FRAME = struct.Struct(">I")
"""Length of the message that follows."""
LARGEST = 2**25
"""Bytes of a message; a report with two pictures has a few million."""


class Started(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of the process."""


class OpenEngine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="open"):
    """Open the engine now, so that the first file need not wait for it."""


class AnswerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="file"):
    """Answer a file."""

    path: str


class PutInWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="words"):
    """Put a finding into words, for both readers."""

    finding: bytes
    study: StudyFacts
    width: int
    height: int
    language: str
    alert_labels: tuple[str, ...]


class HalvePixels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="halve"):
    """Make a coarser copy of pixels that are kept."""

    sha256: str
    width: int
    """Of the pixels that are kept."""
    height: int
    times: int
    """How often both sides are halved."""


class MeasureExtents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="extents"):
    """Measure how far findings reach."""

    findings: tuple[bytes, ...]


Request = OpenEngine | AnswerFile | PutInWords | HalvePixels | MeasureExtents


class FileAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to a file."""

    finding: bytes = b""
    """JSON; empty for a failure."""
    failure: str = ""
    """Why the file could not be answered."""
    engine_error: str = ""
    """Why the engine failed: not the file's fault."""
    disk_error: int = 0
    """`errno` where the pixels cannot be kept."""
    alert_labels: tuple[str, ...] = ()
    patient: PatientFacts = PatientFacts()
    study: StudyFacts = StudyFacts()
    spacing_mm: tuple[float, float] | None = None
    spacing_plane: SpacingPlane = ""
    picture: Picture | None = None


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was made for any other request."""

    content: bytes = b""
    error: str = ""
    """Why it could not be made."""


def encode(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    data = msgspec.msgpack.encode(message)
    return FRAME.pack(len(data)) + data
