"""The image of a self-test: a sample of the package as a unit would send it.

A radiograph of FracAtlas, CC BY 4.0 (`runtime/assets/samples`), or a phantom for the bundle of
phantoms: a bundle rejects what is unlike its own training, and a rejected image shows little.
"""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES, SAMPLES
from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.image_io.reader import read_image

__all__ = ["PATIENT_ID", "make_image"]

PATIENT_ID = "ORTHOEDGE-SELFTEST"
"""Of the image, which does not count in the metrics of decisions and scores."""
_CR = "1.2.840.10008.5.1.4.1.1.1"
_ROWS, _COLUMNS = 3000, 2500  # of a detector of 35 x 43 cm with pixels of 0.143 mm


def make_image(bundle: str) -> tuple[str, bytes]:
    """Make a CR image with UIDs of its own, 14 bits, 3000 × 2500.

    Args:
        bundle: that will answer it, as the settings name it.

    Returns:
        The SOP Instance UID, and the content of the file (PS3.10).

    Raises:
        MissingDependency: pydicom is not installed.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid
    except ImportError as error:
        raise MissingDependency("pydicom", "clinic", "making an image") from error
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
    image.StudyDescription = image.SeriesDescription = "Image of the node's self-test"
    image.BodyPartExamined = "HAND" if bundle == "phantom" else "FOREARM"
    image.ViewPosition = ""
    image.PatientOrientation = ["L", "F"]
    image.Laterality = "R"
    image.InstanceNumber = 1
    image.ImagerPixelSpacing = [0.143, 0.143]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = _ROWS, _COLUMNS
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 14, 13
    image.PixelRepresentation = 0
    image.WindowCenter, image.WindowWidth = 8192, 16384
    image.PixelData = _pixels(bundle).astype("<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    image.save_as(content, enforce_file_format=True)
    return str(image.SOPInstanceUID), content.getvalue()


def _pixels(bundle: str) -> npt.NDArray[np.uint16]:
    """Enlarge a sample: uint16 (3000, 2500) of 14 bits, bone bright on dark."""
    folder, name = (
        (PHANTOM_SAMPLES, "0-hand-*.png") if bundle == "phantom" else (SAMPLES, "0-*.jpg")
    )
    (file,) = folder.glob(name)
    grey = read_image(file).pixels
    scale = min(_ROWS / grey.shape[0], _COLUMNS / grey.shape[1])
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    enlarged = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
    below, right = _ROWS - enlarged.shape[0], _COLUMNS - enlarged.shape[1]
    whole = cv2.copyMakeBorder(enlarged, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0)
    noise = np.random.default_rng(0).integers(0, 64, whole.shape, np.uint16)  # as detectors have it
    stored: npt.NDArray[np.uint16] = whole.astype(np.uint16) * 63 + noise
    return stored
