"""Send files to a destination of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending.dicom_file import FileIdentity, read_identity
from orthoedge.clinic.sending.outcome import Outcome
from orthoedge.runtime.errors import InputError


def send(destination: Destination, files: Sequence[Path], calling_ae: str) -> list[Outcome]:
    """Send DICOM files as they are.

    Where a `dicom` peer does not accept the transfer syntax of a file, it is sent in one that every
    peer has to accept; but a compressed image from elsewhere is refused, since it is not decoded
    here. Sending a file again does no harm: the UIDs in it stay.

    Args:
        destination: where to.
        files: PS3.10 files.
        calling_ae: own AE title, for `dicom`.

    Returns:
        What became of each file, in their order. A destination that cannot be reached gives
        `retry` for every file.

    Raises:
        ConfigError: a file of the destination's settings cannot be used.
        MissingDependency: a package that it needs is not installed.
    """
    outcomes: dict[Path, Outcome] = {}
    identified: list[tuple[Path, FileIdentity]] = []
    for file in files:
        try:
            identified.append((file, read_identity(file)))
        except InputError as error:
            outcomes[file] = Outcome(file, "", "refused", str(error))
        except FileNotFoundError:
            outcomes[file] = Outcome(file, "", "refused", "the file is gone")
        except OSError as error:  # of a disk or a limit, which may pass
            reason = f"cannot read the file: {error.strerror or error}"
            outcomes[file] = Outcome(file, "", "retry", reason)
    if identified:
        outcomes.update((sent.file, sent) for sent in _send(destination, identified, calling_ae))
    return [outcomes[file] for file in files]


def _send(
    destination: Destination, files: Sequence[tuple[Path, FileIdentity]], calling_ae: str
) -> list[Outcome]:
    if destination.kind == "dicom":
        from orthoedge.clinic.sending.store import store

        return store(destination, files, calling_ae)
    if destination.kind == "dicomweb":
        from orthoedge.clinic.sending.stow import stow

        return stow(destination, files)
    from orthoedge.clinic.sending.folder import copy_to_folder

    return copy_to_folder(Path(destination.path), files)
