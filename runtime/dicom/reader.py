"""Reading a DICOM file into a radiograph for display.

Only the elements listed in `elements.py` are parsed, so a patient's name, number or date is never
in memory as a value and cannot reach a note or a message.

The greyscale pipeline is a function of the stored value alone, which has at most 16 bits. It is
evaluated once for each possible value, in double precision; the image is then a single look-up.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom import geometry, pixel_data, shutter
from orthoedge.runtime.dicom.decoders import OVERLAY_BITS, check_frame, decode
from orthoedge.runtime.dicom.elements import ELEMENTS, Elements
from orthoedge.runtime.dicom.encoding import read_elements
from orthoedge.runtime.dicom.header import SampleLayout, check_kind, read_layout
from orthoedge.runtime.dicom.lut import grey_levels, oriented_values
from orthoedge.runtime.dicom.pixel_data import Fetch, PixelElement
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.image_io.memory import check_memory, dicom_bytes
from orthoedge.runtime.image_io.radiograph import (
    MAX_PIXELS,
    Radiograph,
    StoredValues,
    check_contrast,
    check_size,
)
from orthoedge.runtime.image_io.windowing import Counts, Pixels, apply_table, count_blocks
from orthoedge.runtime.settings import plain

# What is below a sequence is read with it.
_WANTED: tuple[str | int, ...] = (
    *(keyword for keyword in ELEMENTS if not keyword.startswith("LUT")),
    *OVERLAY_BITS,
)

_T = TypeVar("_T", np.uint8, np.uint16)
_COUNTED = 2**20  # samples counted at once


def read_dicom(
    source: bytes | BinaryIO,
    *,
    prefer_photometric: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_mb: float | None = None,
    keep_stored: bool = False,
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
        keep_stored: likewise.

    Returns:
        The radiograph, uint8 (Rows, Columns) unless it was resampled, bone bright on dark.

    Raises:
        InputError: not such an image, damaged, over the limit, or in a transfer syntax that is not
            read, such as a deflated one.
        MissingDependency: pydicom or the decoder of the transfer syntax is not installed.
    """
    # Imported only where it is needed; None stands for a module that must not be.
    if sys.modules.get("pydicom", True) is None or not _has_pydicom():
        raise MissingDependency("pydicom", "dicom", "reading DICOM files")
    try:
        with quiet_pydicom():
            return _read(source, prefer_photometric, max_pixels, memory_mb, keep_stored)
    except (OrthoEdgeError, MemoryError):
        raise
    except ImportError as error:  # it is there, and cannot be imported
        raise MissingDependency("pydicom", "dicom", "reading DICOM files") from error
    except Exception as error:
        # Parsers and decoders raise any exception for a damaged file. Its message may quote the
        # file, so it stays in the chained exception.
        raise InputError("damaged DICOM: it cannot be decoded") from error


@cache
def _has_pydicom() -> bool:
    return importlib.util.find_spec("pydicom") is not None


def _read(
    source: bytes | BinaryIO,
    prefer_photometric: bool,
    max_pixels: int,
    memory_mb: float | None,
    keep_stored: bool,
) -> Radiograph:
    content = source if isinstance(source, bytes) else b""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    syntax, header, header_notes = read_elements(file, _WANTED)
    element = pixel_data.find_pixel_data(file, header.is_little_endian)
    elements = Elements(header.elements)
    refer_reasons = check_kind(elements, bool(element and element.length))
    assert element is not None
    layout = read_layout(elements, header.is_little_endian)
    rows, columns = layout.rows, layout.columns
    check_size(columns, rows, max_pixels)
    spacing = geometry.read_spacing(elements)
    aspect = geometry.pixel_aspect(elements, spacing)
    shape = geometry.square_shape(rows, columns, aspect, max_pixels)
    frame, pixel_notes = pixel_data.read_frame(file, element, layout, syntax)
    stream = None
    if frame is not None and not pixel_data.is_native(frame, layout, syntax):
        stream, stream_notes = check_frame(frame, layout, syntax)
        pixel_notes += stream_notes
    if memory_mb is not None:
        held = max(len(content), len(frame or b""))
        codec = stream.codec if stream else None
        needed = dicom_bytes(rows * columns, layout.allocated, held, codec)
        needed += shape[0] * shape[1] if aspect != 1 else 0
        needed += 2 * rows * columns if "ShutterShape" in elements else 0
        needed += 2 * rows * columns if keep_stored else 0
        check_memory(needed, memory_mb)
    visible = shutter.read_shutter(elements, rows, columns, aspect)
    if stream is not None:
        if stream.bits <= layout.bits:
            # A codestream of more bits was made of whole samples, with those below the value.
            layout = replace(layout, shift=0)
        samples, decoder_notes = decode(stream, layout, elements, syntax)
        pixel_notes += decoder_notes
        fetch = pixel_data.fetch_array(samples)
    else:
        fetch, excess_notes = _fetch_native(file, content, frame, element, layout)
        pixel_notes += excess_notes
    for note in (*header_notes, *pixel_notes):
        elements.note(note)
    show = partial(_show, fetch, layout, elements=elements, keep_stored=keep_stored)
    pixels, stored, notes = show(visible, prefer_photometric)
    if visible is not None and pixels.any():
        notes += ("display shutter of the file: what it covers is black",)
    elif visible is not None:
        elements.leave_out("ShutterShape", "it shows nothing")
        pixels, stored, notes = show(None, prefer_photometric)
    if aspect != 1:
        pixels = geometry.resample(pixels, shape)
        if stored is not None:
            stored = replace(stored, samples=geometry.resample(stored.samples, shape))
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
        stored,
    )


def _fetch_native(
    file: BinaryIO,
    content: bytes,
    frame: bytes | None,
    element: PixelElement,
    layout: SampleLayout,
) -> tuple[Fetch, tuple[str, ...]]:
    """Fetch uncompressed samples: of a frame in memory, of the content, or of the file."""
    if frame is not None:
        return pixel_data.fetch_array(pixel_data.native_samples(frame, 0, len(frame), layout)), ()
    at, length = element.at, element.length
    notes = pixel_data.check_excess(file, element, layout)
    if content and layout.is_little_endian:
        samples = pixel_data.native_samples(content, at, length, layout)
        return pixel_data.fetch_array(samples), notes
    return pixel_data.fetch_file(file, at, length, layout), notes


def _show(
    fetch: Fetch,
    layout: SampleLayout,
    visible: npt.NDArray[np.bool_] | None,
    prefer_photometric: bool,
    *,
    elements: Elements,
    keep_stored: bool,
) -> tuple[Pixels, StoredValues | None, tuple[str, ...]]:
    """Convert stored samples to grey levels, some rows at a time, with notes.

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

    def seen(step: int, start: int = 0, end: int = rows) -> Iterator[npt.NDArray[Any]]:
        for first in range(start, end, step):
            block = slice(first, min(first + step, end))
            samples = fetch(block.start, block.stop).view(unsigned)
            yield samples if visible is None else samples[visible[block]][None]

    def count(sample: bool) -> Counts:
        if sample:
            (samples,) = seen(1, rows // 2, rows // 2 + 1)
            counts = np.bincount(samples[0], minlength=2**depth)
        else:
            counts = count_blocks(seen(max(1, _COUNTED // layout.columns)), 2**depth)
        counts = counts.reshape(above, -1).sum(axis=0)
        return np.asarray(counts.reshape(-1, below).sum(axis=1) if below > 1 else counts, np.int64)

    photometric = layout.photometric
    table, notes = grey_levels(entries, count, elements, photometric, prefer_photometric)

    def for_samples(values: npt.NDArray[_T]) -> npt.NDArray[_T]:
        return np.tile(np.repeat(values, below) if below > 1 else values, above)

    pixels: Pixels = np.empty((rows, layout.columns), np.uint8)
    stored = None
    if keep_stored:
        oriented, window = oriented_values(entries, table)
        oriented = for_samples(oriented)
        stored = StoredValues(np.empty(pixels.shape, np.uint16), bits, window)
    table = for_samples(table)

    def convert(block: slice) -> None:
        samples = fetch(block.start, block.stop).view(unsigned)
        apply_table(samples, table, pixels[block])
        if visible is not None:
            pixels[block][~visible[block]] = 0
        if stored is not None:
            np.take(oriented, samples, mode="clip", out=stored.samples[block])
            if visible is not None:
                stored.samples[block][~visible[block]] = 0

    pixel_data.each_block(convert, layout)
    return pixels, stored, notes
