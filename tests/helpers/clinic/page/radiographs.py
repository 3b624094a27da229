"""Radiographs that the tests of the page drop: real ones, as pictures and as DICOM files."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.clinic.images import image_file
from tests.helpers.hostile.dicom_bytes import pixel_elements

SAMPLES = Path(__file__).parents[4] / "runtime/assets/samples/radiographs"
SPACING = 0.25  # mm


def picture(start):
    """The file of the sample whose name begins so."""
    (file,) = SAMPLES.glob(f"{start}*.jpg")
    return file.read_bytes()


@cache
def samples(start, columns=0):
    """A sample as uint16 (H, W) of 12 bits, enlarged to `columns` if they are given."""
    pixels = read_image(picture(start)).pixels
    if columns:
        rows = round(columns * pixels.shape[0] / pixels.shape[1])
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return pixels.astype(np.uint16) << 4


def dicom(
    start,
    *,
    date="20261201",
    patient=("P1", "Diallo^Mariam"),
    part="FOREARM",
    instance="1.2.826.0.1.1.1.1",
    columns=0,
):
    """A sample as a DICOM file with a patient, a date and a spacing."""
    number, name = patient
    changes = {
        0x00080018: ("UI", instance),
        0x00080020: ("DA", date),
        0x00100010: ("PN", name),
        0x00100020: ("LO", number),
        0x00180015: ("CS", part),
        0x00181164: ("DS", f"{SPACING}\\{SPACING}"),
    }
    return image_file(changes | pixel_elements(samples(start, columns)))
