"""An image file is recognized by its content, DICOM also without its preamble."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.headers import recognize
from orthoedge.runtime.image_io.reader import read_image
from tests.runtime.image_io.test_reader import encode, radiograph

META = b"\2\0\0\0UL\4\0\x1c\0\0\0\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
CHARSET = b"ISO_IR 100"
CLASS = b"1.2.840.10008.5.1.4.1.1.1\0"
EXPLICIT = b"\x08\0\x05\0CS\x0a\0" + CHARSET + b"\x08\0\x16\0UI\x1a\0" + CLASS
IMPLICIT = b"\x08\0\x05\0\x0a\0\0\0" + CHARSET + b"\x08\0\x16\0\x1a\0\0\0" + CLASS
BIG = b"\0\x08\0\x05CS\0\x0a" + CHARSET + b"\0\x08\0\x16UI\0\x1a" + CLASS


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (encode(".png", radiograph()), "PNG"),
        (encode(".jpg", radiograph()), "JPEG"),
        (encode(".tif", radiograph()), "TIFF"),
        (encode(".bmp", radiograph()), "BMP"),
        (bytes(128) + b"DICM" + META, "DICOM"),
        (encode(".tif", radiograph())[:128] + b"DICM" + META, "DICOM"),  # read by either
        (b"DICM" + META + EXPLICIT, "DICOM"),
        (bytes(128) + META + EXPLICIT, "DICOM"),
        (META + EXPLICIT, "DICOM"),
        (META[12:] + IMPLICIT, "DICOM"),
        (META + BIG, "DICOM"),
        (EXPLICIT, "DICOM"),
        (IMPLICIT, "DICOM"),
        (BIG, "DICOM"),
        (b"\x08\0\0\0\4\0\0\0\x64\1\0\0" + b"\x08\0\1\0\4\0\0\0\1\2\3\0" + IMPLICIT, "DICOM"),
        (b"\x08\0\6\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0", "DICOM"),
        (EXPLICIT + b"\x08\0\x40\x11SQ\0\0\0\1\0\0" + bytes(300), "DICOM"),
    ],
)
def test_each_format_is_recognized_by_its_first_bytes(head, kind):
    assert recognize(head[:264]) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"DICM",
        b"BZh9",
        bytes(264),
        b"\xff" * 264,
        b"\x08" * 264,
        b"\x08\0" * 132,
        b"\2\0\0\0" * 66,
        b"\0\x08" * 132,
        b"\x08\0\x16\0",
        b"\x08\0\x05\0\x0a\0\0\0" + bytes(256),  # one element, then none
        IMPLICIT[18:] + IMPLICIT[:18],  # descending
        b"%PDF-1.7\n",
        b"GIF89a",
        b"The patient's radiograph",
        struct.pack("<64H", *range(2, 66)),
        struct.pack(">64H", *range(8, 72)),
        b"\2\0\0\0\0\0\0\0" * 33,
        np.arange(8, 264, dtype=np.uint8).tobytes(),
    ],
)
def test_other_files_are_not(head):
    assert recognize(head) is None


def test_random_bytes_after_a_group_number_are_not_dicom():
    rng = np.random.default_rng(0)
    for start in (b"\x08\0", b"\2\0", b"\0\x08", b"\x08\0\0\0"):
        for _ in range(2_000):
            assert recognize(start + rng.bytes(262)) is None


def test_a_dicom_file_of_pydicom_is_recognized_in_each_encoding_without_its_preamble():
    pydicom = pytest.importorskip("pydicom")
    for implicit, little in ((True, True), (False, True), (False, False)):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID, item.Modality = "1.2", "1.2.3", "CR"
        item.Rows = item.Columns = 4
        file = io.BytesIO()
        pydicom.dcmwrite(
            file, item, implicit_vr=implicit, little_endian=little, enforce_file_format=False
        )
        assert recognize(file.getvalue()[:264]) == "DICOM"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\xd8\xff\xf7\x00\x0b\x08\x00\x60\x00\x50\x01\x01\x11\x00", "JPEG-LS"),
        (b"\xff\x4f\xff\x51\x00\x29", "JPEG 2000"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\4CgBIP\0 \2\x2b\xd5\xb3\x7f", "CgBI"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x60\1\1\x11\0\xff\xda", "states its height after"),
        (b"RIFF\x00\x01\x00\x00WEBPVP8 ", "WebP"),
    ],
)
def test_a_picture_of_a_kind_that_is_not_read_is_named(head, name):
    with pytest.raises(InputError, match=name):
        read_image(head + bytes(100))
