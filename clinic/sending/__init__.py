"""Sending on: C-STORE, STOW-RS and folders, and storage commitment."""

from orthoedge.clinic.sending.commitment import (
    accept_commitment,
    commitment_handler,
    new_transaction_uid,
    request_commitment,
)
from orthoedge.clinic.sending.echo import echo
from orthoedge.clinic.sending.outcome import DestinationError, Outcome, Reference
from orthoedge.clinic.sending.send import send

__all__ = [
    "DestinationError",
    "Outcome",
    "Reference",
    "accept_commitment",
    "commitment_handler",
    "echo",
    "new_transaction_uid",
    "request_commitment",
    "send",
]
