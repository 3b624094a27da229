"""Rows of the spool's index, as they leave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ImageState",
    "NewImage",
    "NewObject",
    "ObjectState",
    "Report",
    "SpooledImage",
    "SpooledObject",
    "StateCount",
]

ImageState = Literal["received", "answered", "sent", "confirmed", "dead"]
"""`answered`: an object waits to be sent, was refused or could not be made, or there is none;
`sent`: all are sent;
`confirmed`: every destination that was asked has committed itself to storage; `dead`: there is no
answer."""
ObjectState = Literal["waiting", "sent", "confirmed", "dead"]


@dataclass(frozen=True)
class NewImage:
    """What the receiver knows of an image, from the association alone."""

    uid: str
    """SOP Instance UID: digits and dots, at most 64."""
    sop_class: str
    calling_ae: str
    peer: str
    """Address of the sender."""


@dataclass(frozen=True)
class SpooledImage:
    """An image in the spool."""

    uid: str
    sop_class: str
    """Empty for an image that was found without an entry in the index."""
    calling_ae: str
    file: str
    """Relative to the spool's folder."""
    attempts: int
    """Times that its answer was begun, this one included."""
    received_at: float
    """Seconds since 1970, UTC."""
    failure: str
    """What `note_failure` was last told of it."""


@dataclass(frozen=True)
class NewObject:
    """An object to be sent to one destination."""

    destination: str
    kind: str
    """A `ResultKind`, or `original`."""
    uid: str
    sop_class: str
    file: str
    """Relative to the spool's folder."""
    commitment: bool
    """Whether the destination is asked to commit itself to storage."""
    failure: str = ""
    """Why there is no such file; empty if there is one."""


@dataclass(frozen=True)
class SpooledObject:
    """An object that is to be sent, or committed, to one destination."""

    number: int
    image: str
    """SOP Instance UID of the image that it belongs to."""
    destination: str
    kind: str
    uid: str
    sop_class: str
    file: str
    commitment: bool
    attempts: int
    """Failures to send it so far."""
    calling_ae: str
    """Of the image."""


@dataclass(frozen=True)
class Report:
    """What a destination reported about one object of a storage commitment."""

    transaction_uid: str
    uid: str
    failure: str
    """Empty if it is committed."""


@dataclass(frozen=True)
class StateCount:
    """How many images or objects are in one state; one line of `orthoedge node status`."""

    what: str
    """`image`, or the name of a destination."""
    state: str
    count: int
    size_bytes: int
    oldest_s: float
    """Seconds since the oldest of them was received."""
    reason: str
    """Why the last of them is dead, or could not be sent so far."""
