"""Whether an object has arrived at a destination, as far as its kind can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending import DestinationError, echo
from orthoedge.clinic.sending.dicom_file import read_identity
from orthoedge.runtime.errors import InputError

__all__ = ["ask_destination"]


def ask_destination(destination: Destination, uids: Sequence[str], calling_ae: str) -> str:
    """Ask whether a destination has these objects.

    Args:
        destination: a folder is read, a DICOMweb service queried (QIDO-RS, PS3.18 10.6). A DICOM
            peer is asked for an echo alone: its success status of C-STORE is all that it promises.
        uids: SOP Instance UIDs.
        calling_ae: own AE title.

    Returns:
        What was asked, in a few words.

    Raises:
        DestinationError: it does not answer, or an object is not there.
        ConfigError: a file of its settings cannot be used.
    """
    if destination.kind == "dicom":
        echo(destination, calling_ae)
        return "it answers C-ECHO, and its status for each object was success"
    if destination.kind == "dicomweb":
        from orthoedge.clinic.sending.stow import has_instance

        missing = [uid for uid in uids if not has_instance(destination, uid)]
        how = "found by QIDO-RS"
    else:
        missing = [uid for uid in uids if not _is_in_folder(Path(destination.path), uid)]
        how = "read in the folder"
    if missing:
        raise DestinationError(f"{len(missing)} of {len(uids)} objects are not there: {missing[0]}")
    return how


def _is_in_folder(folder: Path, uid: str) -> bool:
    try:
        return read_identity(folder / f"{uid}.dcm").sop_instance_uid == uid
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DestinationError(f"{folder}: {error.strerror or error}") from error
    except InputError as error:
        raise DestinationError(f"{folder}: {uid}.dcm: {error}") from error
