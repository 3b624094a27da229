"""A drawn DX image written byte by byte, with elements replaced, damaged or taken out."""

import io

import numpy as np

from orthoedge.runtime.dicom.reader import read_dicom
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.dicom_bytes import EXPLICIT, file_bytes, pixel_elements

STORED = np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)
# 12 bits through the full linear window: x * 255 / 4095, which has no ties (PS3.3 C.11.2.1.2.1).
PLAIN = np.rint(STORED * 17.0 / 273).astype(np.uint8)


def drawn(changes=(), stored=STORED, syntax=EXPLICIT):
    """The file. `changes`: (tag, VR, value) in place of its own; (tag, None) for none."""
    elements = {
        0x00080060: ("CS", "DX"),
        **pixel_elements(stored),
    }
    for tag, vr, *value in changes:
        if vr is None:
            del elements[tag]
        else:
            elements[tag] = (vr, *value)
    return file_bytes([(tag, *rest) for tag, rest in elements.items()], syntax)


def read(data):
    """From memory, and as it is fetched from a file, which must not make a difference."""
    radiograph = read_image(data)
    fetched = read_dicom(io.BytesIO(data))
    assert np.array_equal(fetched.pixels, radiograph.pixels)
    assert fetched.notes == radiograph.notes
    assert all("\n" not in note for note in radiograph.notes)
    return radiograph
