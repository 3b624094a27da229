"""Whether a destination answers, without sending it anything."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending.association import associate
from orthoedge.clinic.sending.outcome import DestinationError


def echo(destination: Destination, calling_ae: str) -> None:
    """Check that a destination answers: C-ECHO, an empty query, or a folder that can be written.

    Raises:
        DestinationError: it does not.
        ConfigError: a file of its settings cannot be used.
        MissingDependency: pynetdicom is not installed.
    """
    if destination.kind == "dicom":
        _echo_dicom(destination, calling_ae)
    elif destination.kind == "dicomweb":
        from orthoedge.clinic.sending.stow import check_service

        check_service(destination)
    else:
        folder = Path(destination.path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise DestinationError(f"{folder}: {error.strerror or error}") from error


def _echo_dicom(destination: Destination, calling_ae: str) -> None:
    with associate(destination, calling_ae, []) as association:
        status = association.send_c_echo().get("Status")
    if status != 0:
        answer = "no answer to C-ECHO" if status is None else f"C-ECHO answered 0x{status:04X}"
        raise DestinationError(f"{destination.ae_title}: {answer}")
