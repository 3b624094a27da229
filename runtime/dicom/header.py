"""The header of a DICOM radiograph: which files are read, and how their samples are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orthoedge.runtime.dicom.elements import Elements
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import ReasonId

# DR is not in the standard, which has DX; some units write it.
_RADIOGRAPHY = ("CR", "DX", "DR", "RG", "RF")
# Codes named in an error message. Other values are not echoed: they may hold patient data.
_OTHER_MODALITIES = (
    *("BMD", "CT", "ECG", "ES", "GM", "IO", "IVUS", "KO", "MG", "MR", "NM", "OCT", "OP", "OT"),
    *("PR", "PT", "PX", "REG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SM"),
    *("SR", "TG", "US", "XA", "XC"),
)
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
# Digital, mammography and intra-oral X-ray image storage, each for processing.
_FOR_PROCESSING = tuple(f"1.2.840.10008.5.1.4.1.1.1.{kind}" for kind in ("1.1", "2.1", "3.1"))


@dataclass(frozen=True)
class SampleLayout:
    """How the samples of a grey image are stored (PS3.5 8.1.1)."""

    rows: int
    columns: int
    photometric: str
    """`MONOCHROME1` or `MONOCHROME2`."""
    signed: bool
    allocated: int
    """Bits from a sample to the next: 8 or 16."""
    bits: int
    """Bits of the stored value; those above and below are ignored."""
    shift: int
    """Bits below the stored value."""
    is_little_endian: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample in the file."""
        order, kind = "<" if self.is_little_endian else ">", "i" if self.signed else "u"
        return np.dtype(f"{order}{kind}{self.allocated // 8}")

    @property
    def line(self) -> int:
        """Bytes of a row in the file."""
        return self.columns * self.allocated // 8

    @property
    def size(self) -> int:
        """Bytes of all samples in the file."""
        return self.rows * self.line


def check_kind(elements: Elements, has_pixels: bool) -> tuple[tuple[str, ReasonId], ...]:
    """Check that a file is a single-frame radiograph, with notes on what a reader should know.

    Returns:
        Reasons why a finding on it is at best `refer`, each with its identifier.

    Raises:
        InputError: of another kind, or without pixels.
    """
    modality = elements.code("Modality")
    if not modality:
        elements.note("no modality in file")
    elif modality not in _RADIOGRAPHY:
        named = modality if modality in _OTHER_MODALITIES else "unknown"
        raise InputError(f"wrong modality {named}: expected CR, DX, DR, RG or RF")
    elif modality == "RF":
        elements.note("modality RF, fluoroscopy: the network knows plain radiographs only")
    if not has_pixels:
        raise InputError("DICOM without pixel data")
    frames = elements.integer("NumberOfFrames", lambda value: value >= 1) or 1
    if frames != 1:
        raise InputError(f"multi-frame DICOM with {frames} frames: expected one radiograph")
    if elements.code("BurnedInAnnotation", ("YES", "NO")) == "YES":
        elements.note("burned-in annotation: the pixels may show patient data")
    intent = elements.code("PresentationIntentType", ("FOR PRESENTATION", "FOR PROCESSING"))
    if intent == "FOR PROCESSING" or elements.code("SOPClassUID") in _FOR_PROCESSING:
        note = "detector data for processing, not meant for display"
        elements.note(note)
        reason = f"{note}; send the image that the unit displays"
        return ((reason, ReasonId("for_processing")),)
    return ()


def read_layout(elements: Elements, is_little_endian: bool) -> SampleLayout:
    """Read how the samples are stored; what is missing and has only one meaning is completed.

    Args:
        elements: of the file.
        is_little_endian: order of their bytes, and of those of the samples.

    Raises:
        InputError: not a grey image of 8 or 16 bits, or without an element that it needs.
    """
    photometric = elements.code("PhotometricInterpretation")
    samples = elements.layout("SamplesPerPixel")
    if samples is None and photometric in _MONOCHROME:
        samples = _complete(elements, "SamplesPerPixel", 1)
    if not photometric:
        raise InputError("damaged DICOM: PhotometricInterpretation is missing")
    if samples != 1 or photometric not in _MONOCHROME:
        raise InputError("colour DICOM: expected MONOCHROME1 or MONOCHROME2")
    rows, columns, allocated = (
        _required(elements, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")
    )
    bits = elements.layout("BitsStored", lambda value: value >= 1)
    signed = elements.layout("PixelRepresentation", lambda value: value in (0, 1))
    least = bits or 1
    limits = range(least - 1, max(allocated, least))
    highest = elements.numbers("HighBit", 1, lambda value: value in limits)
    if signed is None and highest is None and elements.vr("HighBit"):
        # A HighBit of a wrong length hides the element that follows it.
        raise InputError("damaged DICOM: HighBit and PixelRepresentation are malformed")
    high = int(highest[0]) if highest else (bits or allocated) - 1
    if bits is None:
        bits = _complete(elements, "BitsStored", high + 1)
    if allocated not in (8, 16) or bits > allocated:
        raise InputError(
            f"DICOM samples of {bits} bits up to bit {high} in {allocated}: "
            "expected at most as many in 8 or 16"
        )
    if signed is None:
        signed = _complete(elements, "PixelRepresentation", 0)
    shift = high + 1 - bits
    return SampleLayout(
        rows, columns, photometric, bool(signed), allocated, bits, shift, is_little_endian
    )


def _required(elements: Elements, keyword: str) -> int:
    number = elements.layout(keyword, lambda value: value >= 1)
    if number is None:
        raise InputError(f"damaged DICOM: {keyword} is missing or malformed")
    return number


def _complete(elements: Elements, keyword: str, value: int) -> int:
    """Note which value stands in for one that is missing or malformed."""
    elements.note(f"{keyword} is missing or malformed: taken as {value}")
    return value
