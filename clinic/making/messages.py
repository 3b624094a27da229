"""What worker and process tell each other, and how it is written into a pipe."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np

from orthoedge.clinic.destination import ResultKind
from orthoedge.clinic.history.records import PatientFacts, StudyFacts
from orthoedge.clinic.selftest.image import PATIENT_ID
from orthoedge.clinic.settings import Paper
from orthoedge.clinic.spool.records import SpooledImage
from orthoedge.runtime.finding import Finding
from orthoedge.runtime.image_io.radiograph import Radiograph

__all__ = [
    "LENGTH",
    "Failure",
    "HeaderFacts",
    "MadeObject",
    "Request",
    "Response",
    "decode_request",
    "encode",
]

LENGTH = struct.Struct(">Q")
"""Bytes of the message that follows."""


class HeaderFacts(msgspec.Struct, frozen=True):
    """What the worker has to know of a header."""

    sop_class: str
    modality: str
    """In upper case; empty if it is not stated."""
    body_part: str
    """Likewise."""
    patient: PatientFacts
    study: StudyFacts

    @property
    def is_selftest(self) -> bool:
        """Whether it is the phantom of a self-test."""
        return self.patient.id == PATIENT_ID


class Request(msgspec.Struct, frozen=True):
    """Read the header of an image, and make results where there is a finding.

    Without an image: check that what the kinds take is installed.
    """

    folder: str = ""
    """The spool."""
    image: SpooledImage | None = None
    kinds: tuple[ResultKind, ...] = ()
    finding: Finding | None = None
    radiograph: Radiograph | None = None
    """Without its pixels: height × width bytes of them follow the message."""
    shape: tuple[int, int] = (0, 0)
    received: datetime | None = None
    language: str = "en"
    paper: Paper = "a4"
    alert_labels: tuple[str, ...] = ()
    history: str = ""


class MadeObject(msgspec.Struct, frozen=True):
    """A result whose file is complete and synced."""

    kind: ResultKind
    uid: str
    sop_class: str
    file: str
    """Relative to the spool."""


class Failure(msgspec.Struct, frozen=True):
    """An exception of the process; none holds a value of the image."""

    kind: Literal["input", "config", "missing", "disk", "defect"]
    """`InputError`, `ConfigError`, `MissingDependency`, `OSError`, or anything else."""
    text: tuple[str, ...]
    """Arguments of the exception."""
    number: int = 0
    """`errno` of an `OSError`."""


class Response(msgspec.Struct, frozen=True):
    """The facts, and the objects that were asked for and have something to show."""

    facts: HeaderFacts | None = None
    objects: tuple[MadeObject, ...] = ()
    failure: Failure | None = None


def encode(message: Request | Response) -> bytes:
    """Encode a message with its length in front."""
    data = msgspec.msgpack.encode(message, enc_hook=_array_fields)
    return LENGTH.pack(len(data)) + data


def decode_request(data: bytes) -> Request:
    """Decode a request, without the length."""
    return msgspec.msgpack.decode(data, type=Request, dec_hook=_array)


def _array_fields(value: object) -> tuple[str, tuple[int, ...], bytes]:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(type(value).__name__)
    return value.dtype.str, value.shape, value.tobytes()


def _array(_: type, fields: Any) -> Any:
    kind, shape, data = fields
    return np.frombuffer(data, kind).reshape(shape)
