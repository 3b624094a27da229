"""What the server and its engine's process say to each other: a length, then msgpack.

A message is checked like any input, for the process decodes files from anywhere.
"""

from __future__ import annotations

import struct

import msgspec

from orthoedge.clinic.history.records import PatientFacts, Picture, StudyFacts

__all__ = ["FRAME", "LARGEST", "EngineAnswer", "EngineRequest", "EngineStart", "encode"]

FRAME = struct.Struct(">I")
"""Length of the message that follows."""
LARGEST = 2**24
"""Bytes of a message; the map of a finding has a few thousand numbers."""


class EngineStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of the process."""

    error: str = ""
    """Why it cannot answer; empty if it can."""


class EngineRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is to be answered."""

    path: str


class EngineAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to it."""

    finding: bytes = b""
    """JSON; empty for a failure."""
    failure: str = ""
    """Why the file could not be answered."""
    engine_error: str = ""
    """Why the engine failed: not the file's fault."""
    alert_labels: tuple[str, ...] = ()
    patient: PatientFacts = PatientFacts()
    study: StudyFacts = StudyFacts()
    spacing_mm: tuple[float, float] | None = None
    picture: Picture | None = None


def encode(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    data = msgspec.msgpack.encode(message)
    return FRAME.pack(len(data)) + data
