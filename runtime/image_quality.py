"""Is this radiograph fit to be judged? What a radiographer would send back, seen before inference.

Whatever is measured is counted on at most some 4,000 pixels of the collimated field. The limits
lie outside of what was found on phantoms and on real radiographs; `docs/rejects.md` says how far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.preprocess import LetterboxTransform

_SAMPLES = 64  # pixels along the longer side, taken without averaging: noise stays noise
_ENLARGED = 2.0  # beyond this the network would see more invented pixels than real ones
_ASPECT = 5.0
_DARK, _BRIGHT = 8.0, 215.0  # mean grey level
_CONTRAST = 40  # grey levels from percentile 2 to 98
_BLACK, _WHITE = 5, 250  # at or beyond: no tissue
_BURNT = 0.3  # share of white
_EMPTY = 0.85  # share of black and white together
_FIELD = 0.2  # share of the picture
_RIM = 8  # cells a side of the mosaic that tells the rim from the middle
# Air is dark at the rim of a radiograph and the whole is darker than its negative. Of radiographs
# 0.5 % are above the first, none of those looked at above the second.
_NEGATIVE_SUSPECTED, _NEGATIVE = 145.0, 175.0


@dataclass(frozen=True)
class QualityIssue:
    """One thing that is wrong with a radiograph."""

    reason: str
    """In words that say what to do about it."""
    decision: Literal["refer", "reject"]
    """`refer` where it is a suspicion only."""


def check_image_quality(
    pixels: Pixels, placement: LetterboxTransform, size: int
) -> tuple[QualityIssue, ...]:
    """Find what makes a radiograph unfit, before the network is asked.

    Colour, bit depth and constant images are refused while reading (`intake.py`).

    Args:
        pixels: uint8 (H, W), as read.
        placement: of the network's square, with the collimated field.
        size: side S of that square, in pixels.

    Returns:
        The faults, the gravest kind of reason first; empty where there are none.
    """
    x0, y0, x1, y1 = placement.field
    field = pixels[y0:y1, x0:x1]
    long, short = max(field.shape), min(field.shape)
    found = []
    if long * _ENLARGED < size:
        found.append(
            f"too few pixels: {field.shape[1]}×{field.shape[0]} in the exposed field, at least "
            f"{-(-size // int(_ENLARGED))} along its longer side; send the original, not a preview"
        )
    if long > _ASPECT * short:
        found.append(
            f"a strip of {field.shape[1]}×{field.shape[0]} pixels, longer than {_ASPECT:g} times "
            "its width; check how it was cut out"
        )
    step = -(-long // _SAMPLES)
    sample: Pixels = np.ascontiguousarray(field[::step, ::step])
    found += _exposure(sample)
    faults = [QualityIssue(reason, "reject") for reason in found]
    share = field.size / pixels.size
    if share < _FIELD:
        reason = f"collimated to {share:.0%} of the picture; check that all of the bone is in it"
        faults.append(QualityIssue(reason, "refer"))
    return (*faults, *_polarity(sample))


def _exposure(sample: Pixels) -> list[str]:
    """What is wrong with the grey levels."""
    below = np.bincount(sample.ravel(), minlength=256).cumsum()
    count = sample.size  # may be as small as one
    mean = 256 - float(below.sum()) / count
    black, white = float(below[_BLACK]) / count, 1 - float(below[_WHITE - 1]) / count
    low, high = below.searchsorted((0.02 * count, 0.98 * count))
    found = []
    if black + white > _EMPTY:
        found.append(
            f"nearly blank: {black + white:.0%} of the field is plain black or white; check the "
            "exposure, and whether collimator or lead covers the bone"
        )
    elif white > _BURNT:
        found.append(f"burnt out: {white:.0%} of the field is plain white; expose again with less")
    if mean < _DARK:
        found.append(f"too dark: mean grey level {mean:.0f} of 255; check exposure and window")
    elif mean > _BRIGHT:
        found.append(f"too bright: mean grey level {mean:.0f} of 255; check exposure and window")
    if high - low < _CONTRAST:
        found.append(
            f"too little contrast: {high - low} of 255 grey levels between the darkest and the "
            "brightest parts; check the window"
        )
    return found


def _polarity(sample: Pixels) -> list[QualityIssue]:
    """Whether bone seems to be dark on bright."""
    cells = cv2.resize(sample, (_RIM, _RIM), interpolation=cv2.INTER_AREA).tolist()
    rim = [*cells[0], *cells[-1], *(row[end] for row in cells[1:-1] for end in (0, -1))]
    inner = slice(_RIM // 4, -_RIM // 4)
    middle = [value for row in cells[inner] for value in row[inner]]
    measure = cv2.mean(sample)[0] + _median(rim) - _median(middle)
    if measure <= _NEGATIVE_SUSPECTED:
        return []
    reason = "bone dark on bright (inverted); invert it so that bone is bright"
    if measure > _NEGATIVE:
        return [QualityIssue(f"looks like {reason}", "reject")]
    return [QualityIssue(f"perhaps {reason}", "refer")]


def _median(values: list[int]) -> float:
    """Of few values; numpy's takes longer than all else here."""
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
