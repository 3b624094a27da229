"""Reading a DICOM file into a radiograph for display.

Only the elements listed below are parsed, so a patient's name, number or date is never in memory as
a value and cannot reach a note or a message.

The greyscale pipeline is a function of the stored value alone, which has at most 16 bits. It is
evaluated once for each possible value, in double precision; the image is then a single look-up.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom import pixel_data
from orthoedge.runtime.dicom.decoders import OVERLAY_BITS, check_frame, decode
from orthoedge.runtime.dicom.encoding import read_elements
from orthoedge.runtime.dicom.lut import grey_levels
from orthoedge.runtime.dicom.pixel_data import Fetch, PixelElement
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.image_io.memory import check_memory, dicom_bytes
from orthoedge.runtime.image_io.radiograph import MAX_PIXELS, Radiograph, check_contrast, check_size
from orthoedge.runtime.image_io.windowing import Counts, Pixels, apply_table, count_blocks

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS: list[str | int] = [
    *("Modality", "PresentationIntentType", "BurnedInAnnotation", "Rows", "Columns"),
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelSpacing", "ImagerPixelSpacing", "ModalityLUTSequence", "RescaleSlope"),
    *("RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PresentationLUTShape", *OVERLAY_BITS),
]

_RADIOGRAPHY = ("CR", "DX", "RG")
# Codes named in an error message. Other values are not echoed: they may hold patient data.
_OTHER_MODALITIES = (
    *("BMD", "CT", "ECG", "ES", "GM", "IO", "IVUS", "KO", "MG", "MR", "NM", "OCT", "OP", "OT"),
    *("PR", "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG"),
    *("SM", "SR", "TG", "US", "XA", "XC"),
)
_BLOCK = 2**21  # bytes of samples per block; OpenCV looks up smaller ones in a single thread


def read_dicom(
    source: bytes | BinaryIO,
    *,
    prefer_photometric: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_mb: float | None = None,
) -> Radiograph:
    """Read a single-frame grey CR, DX or RG image from a DICOM file.

    Polarity: the image is inverted at most once, after VOI. PresentationLUTShape decides where it
    is present, PhotometricInterpretation otherwise; `MONOCHROME1` with `INVERSE` is one inversion.
    A note reports a contradiction of the two.

    Args:
        source: the file or its content; without its preamble, `DICM` or file meta information it
            is read with a note. An uncompressed file is read a few rows at a time.
        prefer_photometric: take the polarity from PhotometricInterpretation alone.
        max_pixels: largest rows × columns that is decoded.
        memory_mb: see `read_image`.

    Returns:
        The radiograph, uint8 (Rows, Columns), bone bright on dark.

    Raises:
        InputError: not such an image, damaged, over the limit, or in a transfer syntax that is not
            read, such as a deflated one.
        MissingDependency: pydicom or the decoder of the transfer syntax is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise MissingDependency("pydicom", "dicom", "reading DICOM files") from error
    try:
        with quiet_pydicom():
            return _read(source, prefer_photometric, max_pixels, memory_mb)
    except (OrthoEdgeError, ImportError, MemoryError):
        raise
    except Exception as error:
        # Parsers and decoders raise any exception for a damaged file. Its message may quote the
        # file, so it stays in the chained exception.
        raise InputError("damaged DICOM: it cannot be decoded") from error


def _read(
    source: bytes | BinaryIO, prefer_photometric: bool, max_pixels: int, memory_mb: float | None
) -> Radiograph:
    content = source if isinstance(source, bytes) else b""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    syntax, dataset, header_notes = read_elements(file, _ELEMENTS)
    element = pixel_data.find_pixel_data(file, dataset)
    kind_notes = _check_kind(dataset, bool(element and element.length))
    assert element is not None
    columns = int(dataset.Columns)
    check_size(columns, int(dataset.Rows), max_pixels)
    bits = _check_samples(dataset)
    step = max(1, _BLOCK // (columns * int(dataset.BitsAllocated) // 8))
    samples, pixel_notes = _open_samples(file, element, dataset, syntax, memory_mb, len(content))
    if samples is not None:
        fetch = pixel_data.fetch_array(samples)
    elif content and dataset.original_encoding[1]:
        samples = pixel_data.native_samples(content, element.at, element.length, dataset)
        fetch = pixel_data.fetch_array(samples)
    else:
        fetch = pixel_data.fetch_file(file, element.at, element.length, dataset, step)
    pixels, grey_notes = _show(fetch, step, dataset, bits, prefer_photometric)
    check_contrast(pixels)
    notes = (*header_notes, *kind_notes, *pixel_notes, *grey_notes)
    return Radiograph(pixels, bits, _spacing(dataset), notes)


def _open_samples(
    file: BinaryIO,
    element: PixelElement,
    dataset: Dataset,
    syntax: str,
    memory_mb: float | None,
    content_bytes: int,
) -> tuple[npt.NDArray[Any] | None, tuple[str, ...]]:
    """Decode the samples, with notes; None for uncompressed ones that can be read in place."""
    rows, columns, allocated = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    expected = rows * columns * (allocated // 8)
    frame, notes = pixel_data.read_frame(file, element, expected, syntax)
    stream = None
    if frame is not None and not pixel_data.is_native(frame, expected, syntax):
        stream, stream_notes = check_frame(frame, dataset, syntax)
        notes += stream_notes
    if memory_mb is not None:
        held = max(content_bytes, len(frame or b""))
        codec = stream.codec if stream else None
        check_memory(dicom_bytes(rows * columns, allocated, held, codec), memory_mb)
    if stream is not None:
        samples, decoder_notes = decode(stream, dataset, syntax)
        return samples, (*notes, *decoder_notes)
    if frame is not None:
        return pixel_data.native_samples(frame, 0, len(frame), dataset), notes
    return None, (*notes, *pixel_data.check_excess(file, element, dataset))


def _show(
    fetch: Fetch, step: int, dataset: Dataset, bits: int, prefer_photometric: bool
) -> tuple[Pixels, tuple[str, ...]]:
    """Convert stored samples to grey levels, `step` rows at a time, with notes."""
    # One entry per pattern of the stored bits, sign-extended. Bits above them may hold an old
    # overlay and are ignored.
    rows, kind = int(dataset.Rows), fetch(0, 1).dtype
    depth = kind.itemsize * 8
    unsigned, unused = np.dtype(f"u{kind.itemsize}"), depth - bits
    patterns = (np.arange(2**bits, dtype=np.uint32) << unused).astype(unsigned)
    entries = patterns.view(kind).astype(np.int64) >> unused

    def blocks() -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        for start in range(0, rows, step):
            block = slice(start, min(start + step, rows))
            yield block, fetch(block.start, block.stop).view(unsigned)

    def count(sample: bool) -> Counts:
        if sample:
            middle = rows // 2
            counts = np.bincount(fetch(middle, middle + 1).view(unsigned)[0], minlength=2**depth)
        else:
            counts = count_blocks((samples for _, samples in blocks()), 2**depth)
        return np.asarray(counts.reshape(2**unused, 2**bits).sum(axis=0), np.int64)

    table, notes = grey_levels(entries, count, dataset, prefer_photometric)
    table = np.tile(table, 2**unused)
    pixels: Pixels = np.empty((rows, int(dataset.Columns)), np.uint8)
    for block, samples in blocks():
        apply_table(samples, table, pixels[block])
    return pixels, notes


def _check_kind(dataset: Dataset, has_pixels: bool) -> tuple[str, ...]:
    """Refuse a file that is not one grey radiograph, and return notes for the reader."""
    notes: tuple[str, ...] = ()
    modality = str(dataset.get("Modality", "") or "").strip()
    if not modality:
        notes += ("no modality in file",)
    elif modality not in _RADIOGRAPHY:
        named = modality if modality in _OTHER_MODALITIES else "unknown"
        raise InputError(f"wrong modality {named}: expected CR, DX or RG")
    if not has_pixels:
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
    """Return the bits stored, after checking that they are the low bits of 8 or 16."""
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", bits - 1))
    if allocated not in (8, 16) or not 1 <= bits <= allocated or high != bits - 1:
        raise InputError(
            f"DICOM samples of {bits} bits up to bit {high} in {allocated}: "
            "expected the low bits of 8 or 16"
        )
    return bits


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Return row and column spacing in mm: at the patient where known, else at the detector."""
    for element in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(element, None)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            rows, columns = float(value[0]), float(value[1])
            if 0 < rows < 100 and 0 < columns < 100:
                return rows, columns
    return None
