"""The identity of a DICOM file, from its file meta information alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import InputError, MissingDependency

_UID = re.compile(r"[0-9.]{1,64}")  # of components with leading zeros too, which some units write


@dataclass(frozen=True)
class FileIdentity:
    """Which object a file holds, and how it is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def read_identity(file: Path) -> FileIdentity:
    """Read the identity of a DICOM file (PS3.10 7.1).

    Raises:
        OSError: the file is absent, or the system cannot read it.
        InputError: not a DICOM file, or one without these UIDs.
        MissingDependency: pydicom is not installed.
    """
    try:
        from pydicom.filereader import read_file_meta_info
    except ImportError as error:
        raise MissingDependency("pydicom", "clinic", "sending DICOM files") from error
    try:
        with quiet_pydicom():
            meta = read_file_meta_info(file)
            uids = [
                str(meta.get(keyword, ""))
                for keyword in (
                    "MediaStorageSOPClassUID",
                    "MediaStorageSOPInstanceUID",
                    "TransferSyntaxUID",
                )
            ]
    except OSError:
        raise
    except Exception as error:  # a parser raises anything for a damaged file
        raise InputError("not a DICOM file") from error
    if not all(map(_UID.fullmatch, uids)):
        raise InputError("a DICOM file without the UIDs of its class, instance or transfer syntax")
    return FileIdentity(*uids)
