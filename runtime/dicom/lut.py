"""The DICOM greyscale pipeline: stored value → modality LUT → VOI → polarity → 8 bits.

Sources: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.8.11.3 (presentation LUT shape).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.elements import Elements
from orthoedge.runtime.image_io import windowing
from orthoedge.runtime.image_io.windowing import Counts, Pixels, Values
from orthoedge.runtime.settings import plain


def grey_levels(
    entries: npt.NDArray[np.int64],
    count: Callable[[bool], Counts],
    elements: Elements,
    photometric: str,
    prefer_photometric: bool,
) -> tuple[Pixels, tuple[str, ...]]:
    """Compute the grey level of each stored value, bone bright on dark, inverted at most once.

    Args:
        entries: the value of each pattern of the stored bits, int64 (K,).
        count: counts the pixels of each value, int64 (K,): in a sample of the image if True, else
            in all of it.
        elements: of the file; notes on malformed ones are added to its own.
        photometric: `MONOCHROME1` or `MONOCHROME2`.
        prefer_photometric: ignore PresentationLUTShape.

    Returns:
        uint8 (K,), and notes on deviations from the file.
    """
    padding = _padding(elements, entries)

    def count_used(sample: bool) -> Counts:
        counts = count(sample)
        if padding is None:
            return counts
        used = np.where(padding, 0, counts)
        if sample or used.any():
            return used
        elements.leave_out("PixelPaddingValue", "it covers the image")
        return counts

    table, notes = _voi(_modality(entries, count_used, elements), count_used, elements)
    inverted, polarity_notes = _polarity(elements, photometric, prefer_photometric)
    return 255 - table if inverted else table, (*notes, *polarity_notes)


def oriented_values(
    entries: npt.NDArray[np.int64], table: Pixels
) -> tuple[npt.NDArray[np.uint16], tuple[float, float]]:
    """Turn stored values so that bone is bright, for a viewer with a window of its own.

    Args:
        entries: the value of each pattern of the stored bits, int64 (K,).
        table: the grey level of each, uint8 (K,).

    Returns:
        uint16 (K,), from 0 to K - 1, and the values that are black and white: those of the line
        through the grey levels at a tenth and at nine tenths, which for a window is the window.
    """
    values = entries - entries.min()
    levels = np.empty(len(table), np.int64)
    levels[values] = table
    if levels[0] > levels[-1]:
        values = len(values) - 1 - values
        levels = levels[::-1]
    dark, bright = np.flatnonzero(levels >= 26), np.flatnonzero(levels <= 229)
    low, high = (int(dark[0]) if len(dark) else 0), (int(bright[-1]) if len(bright) else 0)
    if high <= low:  # so steep that there is nothing between black and white
        return values.astype(np.uint16), (float(max(0, low - 1)), float(low))
    # The first value of a level was rounded up to it, and the last one down.
    bottom, top = float(levels[low]) - 0.5, float(levels[high]) + 0.5
    per_level = (high - low) / (top - bottom)
    black, white = low - bottom * per_level, high + (255 - top) * per_level
    return values.astype(np.uint16), (float(black), float(white))


def _padding(elements: Elements, entries: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
    """Return which stored values fill the area outside the detector (PS3.3 C.7.5.1.1.2)."""
    limits = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        number = elements.integer(keyword)
        if number is None:
            break
        # Its sign may be that of the element's VR and not that of the samples. The bits above the
        # stored ones are then all 0 or all 1, and ignored as they are in the samples.
        above, pattern = divmod(number % 2**16, len(entries))
        if above not in (0, 2**16 // len(entries) - 1) or abs(number) >= 2**16:
            elements.leave_out(keyword, "not a possible value")
            break
        limits.append(int(entries[pattern]))
    return (entries >= min(limits)) & (entries <= max(limits)) if limits else None


def _modality(
    entries: npt.NDArray[np.int64], count: Callable[[bool], Counts], elements: Elements
) -> Values:
    """Apply the modality transform to each stored value (PS3.3 C.11.1)."""
    values = entries.astype(np.float64)
    lookup = _lookup(values, elements, "ModalityLUTSequence")
    if lookup is not None:
        shown, _ = lookup
        if _has_contrast(shown, count):
            return shown
        elements.leave_out("ModalityLUTSequence", "it shows nothing")
    # Within these limits different stored values stay different in double precision.
    slope = elements.number("RescaleSlope", lambda value: 1e-6 <= abs(value) <= 1e6)
    intercept = elements.number("RescaleIntercept", lambda value: abs(value) <= 1e9)
    return values * (1 if slope is None else slope) + (intercept or 0)


def _voi(
    values: Values, count: Callable[[bool], Counts], elements: Elements
) -> tuple[Pixels, tuple[str, ...]]:
    """Compute the grey level of each value by LUT, else window, else robust percentiles."""
    note = "no window in file"
    table: Pixels | None
    lookup = _lookup(values, elements, "VOILUTSequence")
    if lookup is not None:
        shown, depth = lookup
        table = windowing.to_eight_bits(shown, 0, 2.0**depth - 1)
    else:
        table = _window(values, elements)
    if table is not None:
        if _has_contrast(table, count):
            return table, ()
        note = "the window in the file shows nothing"
    low, high = windowing.robust_window(values, count(False))
    table = windowing.to_eight_bits(values, low, high)
    window = f"{plain(low, group='')} to {plain(high, group='')}"
    return table, (f"{note}: windowed from {window} (percentiles 0.5 and 99.5)",)


def _has_contrast(levels: npt.NDArray[Any], count: Callable[[bool], Counts]) -> bool:
    """Return whether the pixels have more than one of the levels (K,)."""
    for sample in (True, False):  # a sample distinguishes most images from a blank one
        used = levels[count(sample) > 0]
        if used.size and used.min() != used.max():
            return True
    return False


def _window(values: Values, elements: Elements) -> Pixels | None:
    """Apply the first window of the file; None if it has no usable one."""
    center = elements.number("WindowCenter")
    width = elements.number("WindowWidth", lambda value: value > 0)
    # LINEAR where the function is absent (PS3.3 C.11.2.1.3).
    function = elements.code("VOILUTFunction", ("LINEAR", "LINEAR_EXACT", "SIGMOID")) or "LINEAR"
    if center is None or width is None:
        return None
    table = windowing.window(values, center, width, function)
    if table is None:
        elements.leave_out("WindowWidth", "not a possible value")
    return table


def _lookup(values: Values, elements: Elements, keyword: str) -> tuple[Values, int] | None:
    """Apply a LUT of the file, and return the result and its depth in bits (PS3.3 C.11.1.1.1).

    None where the file has none that can be used.
    """
    item = elements.item(keyword)
    if item is None:
        return None
    descriptor, table = item.words("LUTDescriptor"), item.words("LUTData")
    if descriptor is None or table is None or len(descriptor) != 3:
        elements.leave_out(keyword, "its descriptor or its data is missing or malformed")
        return None
    entries, first, depth = (int(word) for word in descriptor)
    entries = entries or 2**16
    # The input is signed where it can be below 0 (PS3.3 C.11.2.1.1). The VR is often that of other
    # samples: of the two meanings of a word one may leave no value between the first and the last.
    if first >= 2**15:
        signed = item.vr("LUTDescriptor") == "SS" or first > values.max()
        reaches = first - 2**16 + entries > 1
        if values.min() < 0 or (signed and reaches):
            first -= 2**16
    if depth == 8 and len(table) < entries:  # entries of 8 bits, two in a word, the low one first
        table = table.astype("<u2").view("u1").astype(np.uint16)
    if len(table) < entries or not 8 <= depth <= 16:
        elements.leave_out(keyword, "its data does not match its descriptor")
        return None
    table = table[:entries]
    # Values outside the table take its first or last entry.
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    if keyword == "VOILUTSequence":  # what follows a modality LUT is in the units of its entries
        depth = _depth(int(table.max()).bit_length(), depth, elements)
    return table.astype(np.float64)[index], depth


def _depth(used: int, stated: int, elements: Elements) -> int:
    """Return by how many bits a VOI LUT is scaled, with a note where it is not as stated.

    Some CR units state the 16 bits in which an entry is stored, not the 12 that it has, and would
    be shown almost black. As in dcm4che (dcm4che#413), 16 bits are taken to be stated by mistake
    where no entry uses the highest. A depth under 16 is none of storage: that LUT is just dark.
    """
    if used == stated:
        return stated
    scaled = used if used > stated else max(used, 8) if stated == 16 else stated
    elements.note(
        f"VOI LUT states {stated} bits and its entries have {used}: scaled by {scaled} bits"
    )
    return scaled


def _polarity(
    elements: Elements, photometric: str, prefer_photometric: bool
) -> tuple[bool, tuple[str, ...]]:
    """Return whether to invert the image, and notes."""
    is_inverse = photometric == "MONOCHROME1"
    if prefer_photometric:
        return is_inverse, ()
    shape = elements.code("PresentationLUTShape", ("IDENTITY", "INVERSE"))
    if not shape or (shape == "INVERSE") == is_inverse:
        return is_inverse, ()
    return not is_inverse, (
        f"PresentationLUTShape {shape} contradicts {photometric} and was followed: check the "
        "polarity",
    )
