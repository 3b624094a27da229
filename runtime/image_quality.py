"""Input quality checks before inference: exposure, contrast, polarity, size, collimation.

Everything is measured on at most 4,000 pixels of the collimated field. The limits are outside the
range of phantoms and of real radiographs; `docs/use/rejects.md` gives the margins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import cv2
import numpy as np

from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.runtime.preprocess import LetterboxTransform

_SAMPLES = 64  # pixels along the longer side, without averaging, so that noise remains
_ENLARGED = 2.0  # above this the model input has more interpolated pixels than real ones
_ASPECT = 5.0
_DARK, _BRIGHT = 8.0, 215.0  # mean grey level
_CONTRAST = 40  # grey levels from percentile 2 to 98
_BLACK, _WHITE = 5, 250  # at or beyond: no tissue
_BURNT = 0.3  # share of white
_EMPTY = 0.85  # share of black and white together
_COLLIMATED = 0.2  # share of the image
_RIM = 8  # cells per side of the grid that separates rim and centre
# Air is dark at the rim of a radiograph, and the whole is darker than its negative. 0.5 % of the
# radiographs measured are above the first limit, none above the second.
_NEGATIVE_SUSPECTED, _NEGATIVE = 145.0, 175.0


@dataclass(frozen=True)
class QualityIssue:
    """One quality problem of a radiograph."""

    reason: str
    """The fact and the remedy."""
    decision: Literal["refer", "reject"]
    """`refer` for a suspicion, `reject` for a certain problem."""
    id: ReasonId = field(default_factory=ReasonId)
    """Identifies the reason, for other languages."""


class QualityMeasures(NamedTuple):
    """What is measured on the pixels of the collimated field."""

    mean: float
    """Mean grey level, 0 to 255."""
    black_share: float
    """Share of pixels of level 5 or less."""
    white_share: float
    """Share of pixels of level 250 or more."""
    levels: int
    """Grey levels from percentile 2 to 98."""
    negative: float
    """Mean + rim - middle, in grey levels: high if bone is dark on bright."""


def check_image_quality(
    pixels: Pixels, transform: LetterboxTransform, input_size: int
) -> tuple[QualityIssue, ...]:
    """Check the quality of a radiograph before inference.

    Colour, bit depth and constant images are refused on reading (`image_io/reader.py`).

    Args:
        pixels: uint8 (H, W), as read.
        transform: position of the model input, with the collimated field.
        input_size: side S of the model input, in pixels.

    Returns:
        The issues, the most severe kind first; empty if there are none.
    """
    x0, y0, x1, y1 = transform.field
    measures = measure_image_quality(pixels[y0:y1, x0:x1])
    return quality_issues(measures, pixels.shape, transform, input_size)


def measure_image_quality(field: Pixels) -> QualityMeasures:
    """Measure the collimated field, uint8 (H, W)."""
    step = -(-max(field.shape) // _SAMPLES)
    sample: Pixels = np.ascontiguousarray(field[::step, ::step])
    below = np.bincount(sample.ravel(), minlength=256).cumsum()
    count = sample.size  # at least 1
    low, high = below.searchsorted((0.02 * count, 0.98 * count))
    return QualityMeasures(
        mean=256 - float(below.sum()) / count,
        black_share=float(below[_BLACK]) / count,
        white_share=1 - float(below[_WHITE - 1]) / count,
        levels=int(high - low),
        negative=_negative(sample),
    )


def quality_issues(
    measures: QualityMeasures,
    shape: tuple[int, ...],
    transform: LetterboxTransform,
    input_size: int,
) -> tuple[QualityIssue, ...]:
    """Return the quality issues of a radiograph of (H, W) pixels, as `check_image_quality`."""
    x0, y0, x1, y1 = transform.field
    height, width = y1 - y0, x1 - x0
    long, short = max(height, width), min(height, width)
    size: dict[str, str | float] = {"width": width, "height": height}
    issues = []
    if long * _ENLARGED < input_size:
        least = -(-input_size // int(_ENLARGED))
        issues.append(
            QualityIssue(
                f"too few pixels: {width}×{height} in the exposed field, at least {least} along "
                "its longer side; send the original, not a preview",
                "reject",
                ReasonId("too_few_pixels", size | {"least": least}),
            )
        )
    if long > _ASPECT * short:
        issues.append(
            QualityIssue(
                f"a strip of {width}×{height} pixels, longer than {_ASPECT:g} times its width; "
                "check how it was cut out",
                "reject",
                ReasonId("strip", size | {"times": _ASPECT}),
            )
        )
    issues += _exposure(measures)
    share = height * width / (shape[0] * shape[1])
    if share < _COLLIMATED:
        reason = f"collimated to {share:.0%} of the picture; check that all of the bone is in it"
        issues.append(QualityIssue(reason, "refer", ReasonId("collimated", {"share": share})))
    return (*issues, *_polarity(measures.negative))


def _exposure(measures: QualityMeasures) -> list[QualityIssue]:
    """Return what is wrong with the grey levels."""
    mean, black, white, levels, _ = measures
    reasons = []
    if black + white > _EMPTY:
        reason = (
            f"nearly blank: {black + white:.0%} of the field is plain black or white; check the "
            "exposure, and whether collimator or lead covers the bone"
        )
        reasons.append((reason, ReasonId("nearly_blank", {"share": black + white})))
    elif white > _BURNT:
        reason = f"burnt out: {white:.0%} of the field is plain white; expose again with less"
        reasons.append((reason, ReasonId("burnt_out", {"share": white})))
    if mean < _DARK:
        reason = f"too dark: mean grey level {mean:.0f} of 255; check exposure and window"
        reasons.append((reason, ReasonId("too_dark", {"mean": mean})))
    elif mean > _BRIGHT:
        reason = f"too bright: mean grey level {mean:.0f} of 255; check exposure and window"
        reasons.append((reason, ReasonId("too_bright", {"mean": mean})))
    if levels < _CONTRAST:
        reason = (
            f"too little contrast: {levels} of 255 grey levels between the darkest and the "
            "brightest parts; check the window"
        )
        reasons.append((reason, ReasonId("low_contrast", {"levels": levels})))
    return [QualityIssue(reason, "reject", identifier) for reason, identifier in reasons]


def _negative(sample: Pixels) -> float:
    cells = cv2.resize(sample, (_RIM, _RIM), interpolation=cv2.INTER_AREA).tolist()
    rim = [*cells[0], *cells[-1], *(row[end] for row in cells[1:-1] for end in (0, -1))]
    inner = slice(_RIM // 4, -_RIM // 4)
    middle = [value for row in cells[inner] for value in row[inner]]
    return cv2.mean(sample)[0] + _median(rim) - _median(middle)


def _polarity(negative: float) -> list[QualityIssue]:
    """Return an issue if bone seems to be dark on bright."""
    if negative <= _NEGATIVE_SUSPECTED:
        return []
    reason = "bone dark on bright (inverted); invert it so that bone is bright"
    if negative > _NEGATIVE:
        return [QualityIssue(f"looks like {reason}", "reject", ReasonId("inverted"))]
    return [QualityIssue(f"perhaps {reason}", "refer", ReasonId("perhaps_inverted"))]


def _median(values: list[int]) -> float:
    """Median of a few values, for which numpy is slower than the rest of this module."""
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
