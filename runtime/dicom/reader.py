"""Reading a DICOM file into a radiograph for display.

Only the elements listed below are parsed, so a patient's name, number or date is never in memory as
a value and cannot reach a note or a message.

The greyscale pipeline is a function of the stored value alone, which has at most 16 bits. It is
evaluated once for each possible value, in double precision; the image is then a single look-up.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom import geometry, pixel_data, shutter
from orthoedge.runtime.dicom.codestream import Codestream
from orthoedge.runtime.dicom.decoders import OVERLAY_BITS, check_frame, decode
from orthoedge.runtime.dicom.elements import Elements
from orthoedge.runtime.dicom.encoding import read_elements
from orthoedge.runtime.dicom.header import SampleLayout, check_kind, read_layout
from orthoedge.runtime.dicom.lut import grey_levels
from orthoedge.runtime.dicom.pixel_data import Fetch, PixelElement
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.image_io.memory import check_memory, dicom_bytes
from orthoedge.runtime.image_io.radiograph import MAX_PIXELS, Radiograph, check_contrast, check_size
from orthoedge.runtime.image_io.windowing import Counts, Pixels, apply_table, count_blocks
from orthoedge.runtime.settings import plain

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = (
    *("SOPClassUID", "Modality", "PresentationIntentType", "BurnedInAnnotation"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "PixelSpacingCalibrationType"),
    *("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("EstimatedRadiographicMagnificationFactor", *shutter.ELEMENTS),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
)

_BLOCK = 2**21  # bytes of samples per block; OpenCV looks up smaller ones in a single thread


def read_dicom(
    source: bytes | BinaryIO,
    *,
    prefer_photometric: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_mb: float | None = None,
) -> Radiograph:
    """Read a single-frame grey CR, DX, RG or RF image from a DICOM file.

    An optional element that is malformed is left out, with a note (`elements.py`). Pixels that are
    not square are resampled, and what the display shutter of the file covers is black.

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
        The radiograph, uint8 (Rows, Columns) unless it was resampled, bone bright on dark.

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
    syntax, dataset, header_notes = read_elements(file, (*_ELEMENTS, *OVERLAY_BITS))
    element = pixel_data.find_pixel_data(file, dataset)
    elements = Elements(dataset)
    refer_reasons = check_kind(elements, bool(element and element.length))
    assert element is not None
    layout = read_layout(elements)
    rows, columns = layout.rows, layout.columns
    check_size(columns, rows, max_pixels)
    layout.write_to(dataset)
    spacing = geometry.read_spacing(elements)
    aspect = geometry.pixel_aspect(elements, spacing)
    shape = geometry.square_shape(rows, columns, aspect, max_pixels)
    frame, pixel_notes = pixel_data.read_frame(file, element, dataset, syntax)
    stream = None
    if frame is not None and not pixel_data.is_native(frame, dataset, syntax):
        stream, stream_notes = check_frame(frame, dataset, syntax)
        pixel_notes += stream_notes
    if memory_mb is not None:
        held = max(len(content), len(frame or b""))
        codec = stream.codec if stream else None
        needed = dicom_bytes(rows * columns, layout.allocated, held, codec)
        needed += shape[0] * shape[1] if aspect != 1 else 0
        needed += 2 * rows * columns if "ShutterShape" in dataset else 0
        check_memory(needed, memory_mb)
    visible = shutter.read_shutter(elements, rows, columns, aspect)
    step = max(1, _BLOCK // (columns * layout.allocated // 8))
    if stream is not None:
        layout = _layout_of_decoded(dataset, layout, stream)
        samples, decoder_notes = decode(stream, dataset, syntax)
        pixel_notes += decoder_notes
        fetch = pixel_data.fetch_array(samples)
    else:
        fetch, excess_notes = _fetch_native(file, content, frame, element, dataset, step)
        pixel_notes += excess_notes
    for note in (*header_notes, *pixel_notes):
        elements.note(note)
    pixels, notes = _show(fetch, step, layout, visible, elements, prefer_photometric)
    if visible is not None and pixels.any():
        notes += ("display shutter of the file: what it covers is black",)
    elif visible is not None:
        elements.leave_out("ShutterShape", "it shows nothing")
        pixels, notes = _show(fetch, step, layout, None, elements, prefer_photometric)
    if aspect != 1:
        pixels = geometry.resample(pixels, shape)
        notes += (f"pixels {plain(aspect, 3)} times as high as wide, resampled to squares",)
        spacing = geometry.resampled_spacing(spacing, rows, shape)
    check_contrast(pixels)
    return Radiograph(
        pixels,
        layout.bits,
        spacing.mm,
        (*notes, *elements.notes),
        spacing.plane,
        tuple(reason for reason, _ in refer_reasons),
        tuple(identifier for _, identifier in refer_reasons),
    )


def _fetch_native(
    file: BinaryIO,
    content: bytes,
    frame: bytes | None,
    element: PixelElement,
    dataset: Dataset,
    step: int,
) -> tuple[Fetch, tuple[str, ...]]:
    """Fetch uncompressed samples: of a frame in memory, of the content, or of the file."""
    if frame is not None:
        return pixel_data.fetch_array(pixel_data.native_samples(frame, 0, len(frame), dataset)), ()
    at, length = element.at, element.length
    notes = pixel_data.check_excess(file, element, dataset)
    if content and dataset.original_encoding[1]:
        samples = pixel_data.native_samples(content, at, length, dataset)
        return pixel_data.fetch_array(samples), notes
    return pixel_data.fetch_file(file, at, length, dataset, step), notes


def _layout_of_decoded(dataset: Dataset, layout: SampleLayout, stream: Codestream) -> SampleLayout:
    """Return the layout of samples once decoded, and prepare the data set for the decoder.

    A codestream of as many bits as the stored value holds that value alone. One of more bits was
    made of whole samples, with the bits below the value.
    """
    if layout.shift and stream.bits <= layout.bits:
        return replace(layout, shift=0)
    dataset.BitsStored = layout.bits + layout.shift  # that the decoded samples may use
    return layout


def _show(
    fetch: Fetch,
    step: int,
    layout: SampleLayout,
    visible: npt.NDArray[np.bool_] | None,
    elements: Elements,
    prefer_photometric: bool,
) -> tuple[Pixels, tuple[str, ...]]:
    """Convert stored samples to grey levels, `step` rows at a time, with notes.

    What is not `visible` does not count for the grey levels, and is black.
    """
    # One entry per pattern of the stored bits, sign-extended. Bits above and below them may hold an
    # old overlay and are ignored.
    rows, bits, kind = layout.rows, layout.bits, fetch(0, 1).dtype
    depth = kind.itemsize * 8
    unsigned, unused = np.dtype(f"u{kind.itemsize}"), depth - bits
    patterns = (np.arange(2**bits, dtype=np.uint32) << unused).astype(unsigned)
    entries = patterns.view(kind).astype(np.int64) >> unused
    above, below = 2 ** (unused - layout.shift), 2**layout.shift

    def blocks() -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        for start in range(0, rows, step):
            block = slice(start, min(start + step, rows))
            yield block, fetch(block.start, block.stop).view(unsigned)

    def seen(samples: npt.NDArray[Any], block: slice) -> npt.NDArray[Any]:
        return samples if visible is None else samples[visible[block]][None]

    def count(sample: bool) -> Counts:
        if sample:
            middle = slice(rows // 2, rows // 2 + 1)
            samples = fetch(middle.start, middle.stop).view(unsigned)
            counts = np.bincount(seen(samples, middle)[0], minlength=2**depth)
        else:
            counts = count_blocks((seen(samples, block) for block, samples in blocks()), 2**depth)
        counts = counts.reshape(above, -1).sum(axis=0)
        return np.asarray(counts.reshape(-1, below).sum(axis=1) if below > 1 else counts, np.int64)

    photometric = layout.photometric
    table, notes = grey_levels(entries, count, elements, photometric, prefer_photometric)
    table = np.tile(np.repeat(table, below) if below > 1 else table, above)
    pixels: Pixels = np.empty((rows, layout.columns), np.uint8)
    for block, samples in blocks():
        apply_table(samples, table, pixels[block])
        if visible is not None:
            pixels[block][~visible[block]] = 0
    return pixels, notes
