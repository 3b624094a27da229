"""The header of an image in the spool: what the rules and the results need of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.spool.records import SpooledImage
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["ImageHeader", "read_image_header"]

_LARGEST_VALUE = 2**16  # bytes of an element that is read before it is asked for


@dataclass(frozen=True)
class ImageHeader:
    """The elements before the pixels."""

    dataset: Dataset
    modality: str
    """In upper case; empty if it is not stated."""
    body_part: str
    """Likewise."""


def read_image_header(file: Path, image: SpooledImage) -> ImageHeader:
    """Read the elements before the pixels; large values are left in the file until asked for.

    Args:
        file: of the image.
        image: what its sender announced.

    Raises:
        InputError: no DICOM, or of another SOP instance than the sender announced.
        MemoryError: its elements take more than the process may have.
        OSError: the disk fails.
    """
    from pydicom import dcmread

    from orthoedge.runtime.dicom.silence import quiet_pydicom

    try:
        with quiet_pydicom():
            header = dcmread(file, defer_size=_LARGEST_VALUE, stop_before_pixels=True)
            uid = str(header.get("SOPInstanceUID", ""))
            modality, body_part = (
                str(header.get(keyword, "") or "").strip().upper()
                for keyword in ("Modality", "BodyPartExamined")
            )
    except FileNotFoundError as error:
        raise InputError("its file is missing from the spool") from error
    except (MemoryError, OSError):
        raise
    except Exception as error:  # pydicom raises anything for a damaged file
        raise InputError("damaged DICOM: its elements cannot be read") from error
    if not uid:  # some units leave out what the file meta information says
        header.SOPInstanceUID = image.uid
        header.SOPClassUID = header.get("SOPClassUID", image.sop_class)
    elif uid != image.uid:
        raise InputError("its data set is of another SOP instance than the sender announced")
    return ImageHeader(header, modality, body_part)
