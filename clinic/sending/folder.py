"""A folder as destination: one file per object, named by its UID."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from orthoedge.clinic.sending.dicom_file import FileIdentity
from orthoedge.clinic.sending.outcome import Outcome
from orthoedge.runtime.atomic_files import atomic


def copy_to_folder(folder: Path, files: Sequence[tuple[Path, FileIdentity]]) -> list[Outcome]:
    """Copy files to `folder`, synced, each under its SOP instance UID with the ending `.dcm`."""
    return [_copy(folder, file, identity) for file, identity in files]


def _copy(folder: Path, file: Path, identity: FileIdentity) -> Outcome:
    uid = identity.sop_instance_uid  # digits and dots
    try:
        with file.open("rb") as content, atomic(folder / f"{uid}.dcm") as copy:
            shutil.copyfileobj(content, copy)
    except OSError as error:
        return Outcome(file, uid, "retry", f"{error.filename}: {error.strerror or error}")
    return Outcome(file, uid, "stored", "")
