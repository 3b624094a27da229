"""Decoded samples brought to the type, sign and bits that the data set states.

PS3.5 8.2 wants the codestream and the data set to agree. Many encoders state all allocated bits in
the codestream, which changes no sample. A sample that the stored bits cannot hold is refused, or
clipped if it is the overshoot of a lossy codec; masked, the brightest would become black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.codestream import Codestream
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OVERLAY_BITS: list[str | int] = [tag << 16 | 0x0102 for tag in range(0x6000, 0x6020, 2)]
"""Tags of OverlayBitPosition."""
_OVERSHOOT = 0.25  # of the range; a lossy codec exceeds it at sharp edges, by less


def conform(
    stored: npt.NDArray[Any], stream: Codestream, dataset: Dataset, lossless: bool
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Convert decoded samples to the type of the data set.

    Args:
        stored: as decoded (Rows, Columns).
        stream: where they come from.
        dataset: the elements of the file.
        lossless: the transfer syntax promises exact samples.

    Returns:
        8- or 16-bit integers of the sign that the data set states, whose low bits are the stored
        ones; and notes on disagreements.

    Raises:
        InputError: samples that the sign or the bits stored of the data set cannot hold.
    """
    signed = bool(dataset.PixelRepresentation)
    bits = int(dataset.get("HighBit", int(dataset.BitsStored) - 1)) + 1
    dtype = np.dtype(f"{'i' if signed else 'u'}{int(dataset.BitsAllocated) // 8}")
    notes: tuple[str, ...] = ()
    if stream.codec == "RLE":
        return stored.view(dtype), ()
    if stream.signed and not signed and stored.min() < 0:
        raise InputError("DICOM whose compressed image has samples below 0, its header has none")
    if stream.codec in ("JPEG 2000", "HTJ2K") and stream.signed != signed:  # others have no sign
        named = ("unsigned", "signed")
        notes += (f"the pixels are {named[stream.signed]}, the header says {named[signed]}",)
    if stream.bits < bits:
        notes += (f"the pixels have {stream.bits} bits, the header says {bits} bits stored",)
    patterns = signed and not stream.signed  # of two's complement
    if patterns and stream.bits < bits and stream.codec != "JPEG lossless":
        stored = _extend(stored, stream.bits)
    if stream.bits > bits:
        stored, note = _fit(stored, bits, signed, stream, dataset, lossless)
        notes += note
    return np.ascontiguousarray(stored, dtype), notes


def _extend(stored: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int16]:
    """Extend the sign of two's complement numbers in the low bits."""
    extended: npt.NDArray[np.int16] = (stored.astype(np.uint16) << (16 - bits)).view(np.int16)
    return extended >> (16 - bits)


def _fit(
    stored: npt.NDArray[Any],
    bits: int,
    signed: bool,
    stream: Codestream,
    dataset: Dataset,
    lossless: bool,
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return samples that `bits` can hold, and a note if any had to be clipped."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    least, most = int(stored.min()), int(stored.max())
    if signed and not stream.signed:  # patterns of two's complement
        if most < 2**bits:
            return stored, ()
        stored = _extend(stored, stream.bits)
        least, most = int(stored.min()), int(stored.max())
    if low <= least and most <= high:
        return stored, ()
    if any(
        int(dataset.get(tag).value or 0) >= bits for tag in OVERLAY_BITS if dataset.get(tag)
    ):  # PS3.5 8.1.1: a retired overlay plane in an unused bit
        return stored, ()
    reach = 2**bits * _OVERSHOOT
    if lossless or stream.lossless or least < low - reach or most > high + reach:
        raise InputError(
            f"DICOM with {bits} bits stored in its header, but samples from {least} to {most} "
            f"in its compressed image of {stream.bits} bits"
        )
    count = int(np.count_nonzero((stored < low) | (stored > high)))
    return np.clip(stored, low, high), (
        f"lossy compression: {count} samples beyond the {bits} bits stored were clipped to them",
    )
