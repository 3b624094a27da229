"""A phantom radiograph as a DICOM file: numbers, no patient."""

from __future__ import annotations

import io
import time

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import MissingDependency

__all__ = ["PATIENT_ID", "make_phantom"]

PATIENT_ID = "ORTHOEDGE-SELFTEST"
"""Of the phantom, which does not count in the metrics of decisions and scores."""
_CR = "1.2.840.10008.5.1.4.1.1.1"
_ROWS, _COLUMNS = 1200, 900


def make_phantom() -> tuple[str, bytes]:
    """Make a CR image with UIDs of its own: two bones on soft tissue, 12 bits, 1200 × 900.

    Returns:
        The SOP Instance UID, and the content of the file (PS3.10).

    Raises:
        MissingDependency: pydicom is not installed.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid
    except ImportError as error:
        raise MissingDependency("pydicom", "clinic", "making a phantom") from error
    image = Dataset()
    image.SOPClassUID = _CR
    image.SOPInstanceUID = generate_uid(None)
    image.StudyInstanceUID = generate_uid(None)
    image.SeriesInstanceUID = generate_uid(None)
    image.PatientName = "Selftest^Orthoedge"
    image.PatientID = PATIENT_ID
    image.PatientBirthDate = image.PatientSex = image.AccessionNumber = ""
    image.ReferringPhysicianName = image.StudyID = image.SeriesNumber = None
    image.StudyDate = time.strftime("%Y%m%d")
    image.StudyTime = time.strftime("%H%M%S")
    image.Modality = "CR"
    image.Manufacturer = "orthoedge"
    image.StudyDescription = image.SeriesDescription = "Phantom of the node's self-test"
    image.BodyPartExamined = "HAND"
    image.ViewPosition = ""
    image.PatientOrientation = ["L", "F"]
    image.Laterality = "R"
    image.InstanceNumber = 1
    image.ImagerPixelSpacing = [0.2, 0.2]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = _ROWS, _COLUMNS
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.PixelData = _pixels().astype("<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    image.save_as(content, enforce_file_format=True)
    return str(image.SOPInstanceUID), content.getvalue()


def _pixels() -> npt.NDArray[np.uint16]:
    """Bone bright on dark: uint16 (1200, 900), 0 to 4095; the same every time."""
    y, x = np.mgrid[-1 : 1 : 1j * _ROWS, -1 : 1 : 1j * _COLUMNS]
    picture: npt.NDArray[np.float64] = 200 + 900 * np.exp(-((x / 0.75) ** 8))
    for centre, width in ((-0.3, 0.16), (0.3, 0.12)):
        across = (x - centre - 0.08 * y**2) / (width * (1 + 0.5 * y**4))
        shaft = np.exp(-(across**8))
        cortex = np.exp(-((np.abs(across) - 0.85) ** 2) / 0.02)
        picture += 1100 * shaft + 900 * shaft * cortex
    picture += np.random.default_rng(0).normal(0, 25, picture.shape)
    stored: npt.NDArray[np.uint16] = np.clip(np.rint(picture), 0, 4095).astype(np.uint16)
    return stored
