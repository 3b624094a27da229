"""The DICOM greyscale pipeline: stored value → modality LUT → VOI → polarity → 8 bits.

Sources: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.8.11.3 (presentation LUT shape).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io import windowing
from orthoedge.runtime.image_io.windowing import Counts, Pixels, Values
from orthoedge.runtime.settings import plain

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def grey_levels(
    entries: npt.NDArray[np.int64],
    count: Callable[[bool], Counts],
    dataset: Dataset,
    prefer_photometric: bool,
) -> tuple[Pixels, tuple[str, ...]]:
    """Compute the grey level of each stored value, bone bright on dark, inverted at most once.

    Args:
        entries: stored values, int64 (K,).
        count: counts the pixels of each value, int64 (K,): in a sample of the image if True, else
            in all of it.
        dataset: the elements of the file.
        prefer_photometric: ignore PresentationLUTShape.

    Returns:
        uint8 (K,), and notes on deviations from the file.

    Raises:
        InputError: a look-up table or a VOI function that cannot be applied.
    """
    padding = dataset.get("PixelPaddingValue", None)  # fills the area outside the detector

    def count_used(sample: bool) -> Counts:
        counts = count(sample)
        if padding is None:
            return counts
        used = np.where(entries == int(padding), 0, counts)
        return used if used.any() else counts

    table, notes = _voi(_modality(entries, dataset), count_used, dataset)
    inverted, polarity_notes = _polarity(dataset, prefer_photometric)
    return 255 - table if inverted else table, (*notes, *polarity_notes)


def _modality(entries: npt.NDArray[np.int64], dataset: Dataset) -> Values:
    """Apply the modality transform to each stored value (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        values, _ = _lookup(entries.astype(np.float64), dataset.ModalityLUTSequence[0], dataset)
        return values
    slope = dataset.get("RescaleSlope", None)
    intercept = dataset.get("RescaleIntercept", None)
    values = entries.astype(np.float64)
    return values * float(1 if slope is None else slope) + float(intercept or 0)


def _voi(
    values: Values, count: Callable[[bool], Counts], dataset: Dataset
) -> tuple[Pixels, tuple[str, ...]]:
    """Compute the grey level of each value by LUT, else window, else robust percentiles."""
    note = "no window in file"
    table: Pixels | None
    if dataset.get("VOILUTSequence"):
        shown, depth = _lookup(values, dataset.VOILUTSequence[0], dataset)
        table = windowing.to_eight_bits(shown, 0, 2.0**depth - 1)
    else:
        table = _window(values, dataset)
    if table is not None:
        for sample in (True, False):  # a sample distinguishes most images from a blank one
            used = table[count(sample) > 0]
            if used.size and used.min() != used.max():
                return table, ()
        note = "the window in the file shows nothing"
    low, high = windowing.robust_window(values, count(False))
    table = windowing.to_eight_bits(values, low, high)
    window = f"{plain(low, group='')} to {plain(high, group='')}"
    return table, (f"{note}: windowed from {window} (percentiles 0.5 and 99.5)",)


def _window(values: Values, dataset: Dataset) -> Pixels | None:
    """Apply the first window of the file; None if it has no usable one."""
    center = _first(dataset.get("WindowCenter", None))
    width = _first(dataset.get("WindowWidth", None))
    if center is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise InputError("DICOM with an unknown VOI LUT function")
    return windowing.window(values, center, width, function)


def _lookup(values: Values, item: Dataset, dataset: Dataset) -> tuple[Values, int]:
    """Apply a LUT of the file, and return the result and its depth in bits (PS3.3 C.11.1.1.1)."""
    entries, first, depth = (int(number) & 0xFFFF for number in item.LUTDescriptor)
    entries = entries or 2**16
    implicit, little = dataset.original_encoding
    # The input is signed where it can be below 0 (PS3.3 C.11.2.1.1). Implicit VR does not state it,
    # and pydicom takes the sign of the stored samples, before any rescaling.
    signed = values.min() < 0 or (not implicit and item["LUTDescriptor"].VR == "SS")
    if signed and first >= 2**15:
        first -= 2**16
    raw = item.LUTData
    table: npt.NDArray[Any]
    if isinstance(raw, bytes):
        table = np.frombuffer(raw + bytes(len(raw) % 2), "<u2" if little else ">u2")
        if len(table) < entries:  # entries of 8 bits, two in a word, the low one first
            table = table.astype("<u2").view("u1")
    else:
        table = np.atleast_1d(np.asarray(raw)).astype(np.int64) & 0xFFFF
    if len(table) < entries or not 8 <= depth <= 16:
        raise InputError("damaged DICOM: a look-up table does not match its descriptor")
    table = table[:entries]
    # Values outside the table take its first or last entry.
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    return table.astype(np.float64)[index], max(depth, int(table.max()).bit_length())


def _polarity(dataset: Dataset, prefer_photometric: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether to invert the image, and notes."""
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


def _first(value: Any) -> float | None:
    """Return the first of a multi-valued decimal string, or None for an empty one."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])
