"""A DICOM radiograph, for display: modality → VOI → polarity → 8 bits.

Sources: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.8.11.3 (presentation LUT shape). Only the elements named below are parsed, so no
patient's name, number or date is ever in memory as a value, and none can reach a note or a message.

The whole grey-scale pipeline is a function of the stored value alone, and a stored value has at
most 16 bits: it is evaluated once for each possible value, in double precision, and the image is
then one look-up.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.grey import (
    Counts,
    Pixels,
    Values,
    lookup,
    robust_window,
    to_eight_bits,
    window,
)
from orthoedge.runtime.headers import codestream_size
from orthoedge.runtime.intake import MAX_PIXELS, Radiograph, check_contrast, check_size

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = [
    *("Modality", "PresentationIntentType", "BurnedInAnnotation", "Rows", "Columns"),
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelSpacing", "ImagerPixelSpacing", "ModalityLUTSequence", "RescaleSlope"),
    *("RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PresentationLUTShape", "PixelData"),
]

_RADIOGRAPHY = ("CR", "DX", "RG")
# Codes named in a refusal. Anything else in that element is not echoed: it could be anything.
_OTHER_MODALITIES = frozenset(
    (
        *("BMD", "CT", "ECG", "ES", "GM", "IO", "IVUS", "KO", "MG", "MR", "NM", "OCT", "OP", "OT"),
        *("PR", "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG"),
        *("SM", "SR", "TG", "US", "XA", "XC"),
    )
)

# By the beginning of the transfer syntax; pydicom itself reads the uncompressed ones and RLE.
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
_DECODER_PACKAGES = {
    "1.2.840.10008.1.2.4.8": "pyjpegls",
    "1.2.840.10008.1.2.4.20": "pylibjpeg with pylibjpeg-openjpeg",
}


def read_dicom(
    data: bytes, *, prefer_photometric: bool = False, max_pixels: int = MAX_PIXELS
) -> Radiograph:
    """Read a single-frame grey CR, DX or RG image from the content of a DICOM file.

    Polarity: the image is inverted at most once, after VOI. PresentationLUTShape decides where it
    is present, PhotometricInterpretation otherwise; `MONOCHROME1` with `INVERSE` is one inversion.
    Where the two contradict each other a note says so.

    Args:
        data: the file, with its 128-byte preamble and `DICM`.
        prefer_photometric: let PhotometricInterpretation alone decide the polarity.
        max_pixels: largest rows × columns that is decoded.

    Returns:
        The radiograph, uint8 (Rows, Columns), bone bright on dark.

    Raises:
        InputError: not such an image, damaged, over the limit, or in a deflated transfer syntax.
        MissingDependency: pydicom or the decoder of the transfer syntax is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise MissingDependency("pydicom", "dicom", "reading DICOM files") from error
    try:
        # pydicom's warnings quote the values they complain about.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(data, prefer_photometric, max_pixels)
    except (OrthoEdgeError, ImportError):
        raise
    except Exception as error:
        # Parsers and decoders raise whatever a damaged file makes them stumble over; the reason
        # may quote the file, so it stays in the chained exception.
        raise InputError("damaged DICOM: it cannot be decoded") from error


def _read(data: bytes, prefer_photometric: bool, max_pixels: int) -> Radiograph:
    from pydicom import dcmread

    syntax = _transfer_syntax(data)
    dataset = dcmread(io.BytesIO(data), specific_tags=list(_ELEMENTS))
    notes = _check_kind(dataset)
    check_size(int(dataset.Columns), int(dataset.Rows), max_pixels)
    bits = _check_samples(dataset)
    stored = _decode(dataset, syntax)
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"damaged DICOM: decoded to {stored.shape}, not Rows × Columns")

    # One entry per bit pattern. Bits above BitsStored may hold an old overlay
    # and do not count; the sign is extended.
    depth = stored.dtype.itemsize * 8
    index = stored.view(f"u{depth // 8}")
    counts = np.bincount(index.ravel(), minlength=2**depth)
    spare = depth - bits
    patterns = (np.arange(2**depth, dtype=np.uint32) << spare).astype(index.dtype)
    entries = patterns.view(stored.dtype).astype(np.int64) >> spare
    values = _modality(entries, dataset)
    table, voi_notes = _voi(values, _without_padding(counts, entries, dataset), dataset)
    inverted, polarity_notes = _polarity(dataset, prefer_photometric)
    if inverted:
        table = 255 - table
    pixels = table[index]
    check_contrast(pixels)
    return Radiograph(pixels, bits, _spacing(dataset), (*notes, *voi_notes, *polarity_notes))


def _transfer_syntax(data: bytes) -> str:
    """Transfer syntax UID from the file meta information, before anything is inflated."""
    from pydicom.filereader import read_dataset

    file = io.BytesIO(data)
    file.seek(132)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    syntax = str(meta.get("TransferSyntaxUID", "") or "")
    if not syntax:
        raise InputError("damaged DICOM: no transfer syntax in its header")
    if syntax in _DEFLATED:
        raise InputError("DICOM in a deflated transfer syntax, which can open to any size")
    return syntax


def _check_kind(dataset: Dataset) -> tuple[str, ...]:
    """Refuse what is not one grey radiograph; notes on what a reader should know."""
    notes: tuple[str, ...] = ()
    modality = str(dataset.get("Modality", "") or "").strip()
    if not modality:
        notes += ("no modality in file",)
    elif modality not in _RADIOGRAPHY:
        named = modality if modality in _OTHER_MODALITIES else "unknown"
        raise InputError(f"wrong modality {named}: expected CR, DX or RG")
    if "PixelData" not in dataset or not dataset.PixelData:
        raise InputError("DICOM without pixel data")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise InputError(f"multi-frame DICOM with {frames} frames: expected one radiograph")
    samples = int(dataset.SamplesPerPixel)
    if samples != 1 or dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError("colour DICOM: expected MONOCHROME1 or MONOCHROME2")
    if str(dataset.get("BurnedInAnnotation", "") or "").upper() == "YES":
        notes += ("burned-in annotation: the pixels may show patient data",)
    if str(dataset.get("PresentationIntentType", "") or "").upper() == "FOR PROCESSING":
        notes += ("detector data for processing, not meant for display",)
    return notes


def _check_samples(dataset: Dataset) -> int:
    """Bits stored, after making sure that they lie in 8 or 16 allocated bits as is usual."""
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", bits - 1))
    if allocated not in (8, 16) or not 1 <= bits <= allocated or high != bits - 1:
        raise InputError(
            f"DICOM samples of {bits} bits up to bit {high} in {allocated}: "
            "expected the low bits of 8 or 16"
        )
    return bits


def _decode(dataset: Dataset, syntax: str) -> npt.NDArray[Any]:
    """Stored values, 8- or 16-bit integers (Rows, Columns), in native byte order."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError as error:
        raise InputError("DICOM in a transfer syntax that no decoder reads") from error
    if not decoder.is_available:
        known = (name for uid, name in _DECODER_PACKAGES.items() if syntax.startswith(uid))
        package = next(known, "python-gdcm")
        raise MissingDependency(package, "dicom", f"reading {UID(syntax).name} images")
    if syntax.startswith(_JPEG_FAMILY):
        # The codestream has a size of its own, and that is what a decoder allocates. A cut one is
        # filled with grey by some decoders; all of the family end in FF D9 and a byte to pad.
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if codestream_size(frame) != (dataset.Columns, dataset.Rows):
            raise InputError("damaged DICOM: the compressed image has another size than its header")
        if not frame.rstrip(b"\0\xff").endswith(b"\xd9"):
            raise InputError("truncated DICOM: the compressed image has no end")
    stored = dataset.pixel_array
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))


def _modality(entries: npt.NDArray[np.int64], dataset: Dataset) -> Values:
    """What the detector measured, for each stored value (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        values, _ = _lookup(entries.astype(np.float64), dataset.ModalityLUTSequence[0], dataset)
        return values
    slope = dataset.get("RescaleSlope", None)
    intercept = dataset.get("RescaleIntercept", None)
    values = entries.astype(np.float64)
    return values * float(1 if slope is None else slope) + float(intercept or 0)


def _voi(values: Values, counts: Counts, dataset: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    """Grey level 0 to 255 for each value: LUT, else window, else robust percentiles."""
    note = "no window in file"
    table: Pixels | None
    if dataset.get("VOILUTSequence"):
        shown, depth = _lookup(values, dataset.VOILUTSequence[0], dataset)
        table = to_eight_bits(shown, 0, 2.0**depth - 1)
    else:
        table = _window(values, dataset)
    if table is not None:
        used = table[counts > 0]
        if used.size and used.min() != used.max():
            return table, ()
        note = "the window in the file shows nothing"
    low, high = robust_window(values, counts)
    table = to_eight_bits(values, low, high)
    return table, (f"{note}: windowed from {low:g} to {high:g} (percentiles 0.5 and 99.5)",)


def _window(values: Values, dataset: Dataset) -> Pixels | None:
    """The first window of the file, to 0 to 255; None where it has none that can be used."""
    center = _first(dataset.get("WindowCenter", None))
    width = _first(dataset.get("WindowWidth", None))
    if center is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise InputError("DICOM with an unknown VOI LUT function")
    return window(values, center, width, function)


def _lookup(values: Values, item: Dataset, dataset: Dataset) -> tuple[Values, int]:
    """Apply a LUT of the file to `values`; the result and its depth in bits (PS3.3 C.11.1.1.1)."""
    entries, first, depth = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16
    raw = item.LUTData
    table: npt.NDArray[Any]
    if isinstance(raw, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        table = np.frombuffer(raw, f"{order}u2" if len(raw) >= 2 * entries else "u1")
    else:
        table = np.atleast_1d(np.asarray(raw)).astype(np.int64) & 0xFFFF
    if len(table) < entries or not 8 <= depth <= 16:
        raise InputError("damaged DICOM: a look-up table does not match its descriptor")
    table = table[:entries]
    return lookup(values, table, first), max(depth, int(table.max()).bit_length())


def _without_padding(counts: Counts, entries: npt.NDArray[np.int64], dataset: Dataset) -> Counts:
    """Histogram without the value that fills what the detector never saw."""
    padding = dataset.get("PixelPaddingValue", None)
    if padding is None:
        return counts
    kept = np.where(entries == int(padding), 0, counts)
    return kept if kept.any() else counts


def _polarity(dataset: Dataset, prefer_photometric: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether to invert, which happens once or not at all, and notes."""
    photometric = str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    shape = str(dataset.get("PresentationLUTShape", "") or "").strip().upper()
    if prefer_photometric or shape not in ("IDENTITY", "INVERSE"):
        return photometric, ()
    inverse = shape == "INVERSE"
    if inverse == photometric:
        return inverse, ()
    return inverse, (
        f"PresentationLUTShape {shape} contradicts {dataset.PhotometricInterpretation} and was "
        "followed: check the polarity",
    )


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Row and column spacing in mm: at the patient where known, else at the detector."""
    for element in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(element, None)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            rows, columns = float(value[0]), float(value[1])
            if 0 < rows < 100 and 0 < columns < 100:
                return rows, columns
    return None


def _first(value: Any) -> float | None:
    """The first of a multi-valued decimal string, or None where it is empty."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])
