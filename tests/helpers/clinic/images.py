"""A small radiograph as a DICOM file, written byte by byte, with any header around it."""

import io

import numpy as np

from tests.helpers.hostile.dicom_bytes import EXPLICIT, file_bytes, pixel_elements

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
ROWS, COLUMNS = 120, 80
STUDY, SERIES, INSTANCE = "1.2.826.0.1.1", "1.2.826.0.1.1.1", "1.2.826.0.1.1.1.1"


def limb(rows=ROWS, columns=COLUMNS):
    """A bright bone on dark, uint16 of 12 bits."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    bone = np.exp(-(((x - columns * 0.5) / (columns * 0.12)) ** 2))
    return np.rint(300 + 3000 * bone + 400 * y / rows).astype(np.uint16)


def complete():
    """Elements of a header in which nothing is missing: tag to VR and value."""
    return {
        0x00080005: ("CS", "ISO_IR 100"),
        0x00080016: ("UI", CR),
        0x00080018: ("UI", INSTANCE),
        0x00080020: ("DA", "20261129"),
        0x00080030: ("TM", "101500"),
        0x00080050: ("SH", "A1"),
        0x00080060: ("CS", "CR"),
        0x00080070: ("LO", "Maker"),
        0x00080090: ("PN", "Doctor^Referring"),
        0x00100010: ("PN", "Doe^Jane"),
        0x00100020: ("LO", "P1"),
        0x00100030: ("DA", "19800101"),
        0x00100040: ("CS", "F"),
        0x00180015: ("CS", "HAND"),
        0x00181164: ("DS", "0.15\\0.15"),
        0x0020000D: ("UI", STUDY),
        0x0020000E: ("UI", SERIES),
        0x00200010: ("SH", "S1"),
        0x00200020: ("CS", "L\\F"),
        0x00200060: ("CS", "R"),
        **pixel_elements(limb()),
    }


def image_file(changes=None, syntax=EXPLICIT):
    """The file. `changes`: tag to (VR, value) in place of its own, or to None for no element."""
    elements = complete() | (changes or {})
    kept = [(tag, *pair) for tag, pair in elements.items() if pair is not None]
    instance = elements[0x00080018]
    if instance is None:
        return file_bytes(kept, syntax)
    meta = ((0x00020002, *elements[0x00080016]), (0x00020003, *instance))
    return file_bytes(kept, syntax, meta)


def source(changes=None, syntax=EXPLICIT):
    """The header of that file as pydicom reads it."""
    import pydicom

    return pydicom.dcmread(io.BytesIO(image_file(changes, syntax)), stop_before_pixels=True)
