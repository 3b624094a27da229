"""Pictures of a finding: the radiograph under its saliency map, alone or next to the plain one.

`overlay` keeps every pixel of the radiograph in place with the caption outside, for a viewer that
zooms. `side_by_side` fits a screen and shows the plain radiograph too, which the map covers.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.decision import percentage
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.lesions.wording import summary_of
from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.overlay.caption import BACKGROUND as BACKGROUND  # part of the interface
from orthoedge.runtime.overlay.caption import Entry, line_width, round_length
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.overlay.layout import SCREEN, CaptionSize, add_caption, fit_layout
from orthoedge.runtime.overlay.pair import draw_pair
from orthoedge.runtime.overlay.panel import (
    LegendNote,
    checked_heat,
    contours_of,
    draw_panel,
    legend_of,
)
from orthoedge.runtime.pipeline import Finding
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels
from orthoedge.runtime.settings import plain

_SMALLEST_UNIT = 10  # pixels of an x-height; in a smaller one the letters run together
_INPUT_SIDE = 36  # x-heights of the model input's side: its contour is as wide as an overlay's

_NOTES: dict[LegendNote, str] = {
    "half": "line: half of the peak",
    "outside": "no line: the peak lies outside the radiograph",
    "margin": "dark margin: not looked at",
}


def overlay(radiograph: Radiograph, finding: Finding) -> Picture:
    """Draw the saliency map over a radiograph, with a caption to the right or below.

    A rejected radiograph has no map: it is drawn dark and crossed out.

    Args:
        radiograph: as read.
        finding: its finding.

    Returns:
        uint8 (H', W', 3), BGR. `[:H, :W]` is the radiograph pixel by pixel. One too small to hold
        letters is enlarged by a whole factor first.

    Raises:
        InputError: an array of another shape or type, or a map that is negative or not finite.
    """
    heat = checked_heat(radiograph, finding)
    rows, columns = radiograph.pixels.shape
    entries = _entries(radiograph, finding, heat)
    layout = fit_layout(columns, rows, CaptionSize.of(entries))
    factor = max(1, math.ceil(_SMALLEST_UNIT * layout.zoom))
    unit = factor / layout.zoom
    shape = (columns * factor, rows * factor)
    shown = radiograph.pixels
    if factor > 1:
        enlarged = cv2.resize(shown, shape, interpolation=cv2.INTER_NEAREST)
        shown = enlarged.astype(np.uint8, copy=False)
    # The panel has no name here, so that its memory is freed before the caption is drawn.
    return add_caption(
        draw_panel(shown, heat, finding.placement, factor, unit, contours_of(finding)),
        entries,
        layout,
        unit,
        factor,
    )


def side_by_side(radiograph: Radiograph, finding: Finding) -> Picture:
    """Draw the plain radiograph, the same under its map, and a caption.

    Args:
        radiograph: as read.
        finding: its finding.

    Returns:
        uint8 (H', W', 3), BGR; as large as fits 1920×1153 pixels, unless the caption is very long.
        The panels are one above the other where they are larger that way.

    Raises:
        InputError: as `overlay`.
    """
    heat = checked_heat(radiograph, finding)
    entries = _entries(radiograph, finding, heat)
    pair = draw_pair(radiograph, finding, heat, CaptionSize.of(entries), SCREEN)
    return add_caption(pair.panels, entries, pair.layout, pair.unit, pair.scale)


def draw_heat_map(model_input: Pixels, saliency: npt.NDArray[np.float32]) -> Picture:
    """Tint the model input by its saliency map, as `overlay` tints the radiograph.

    Args:
        model_input: uint8 (S, S).
        saliency: float32 (h, w), not negative, over the whole model input.

    Returns:
        uint8 (S, S, 3), BGR.
    """
    size = len(model_input)
    whole = LetterboxTransform(field=(0, 0, size, size), content=(0, 0, size, size))
    heat = colormap.map_over_field(saliency, whole, size)
    panel = colormap.colorize(model_input, heat)
    colormap.draw_contour(panel, heat, line_width(size / _INPUT_SIDE))
    return panel


def to_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) or BGR (H, W, 3) as PNG; equal pixels give equal bytes.

    Raises:
        OrthoEdgeError: the array cannot be encoded.
    """
    is_encoded, encoded = cv2.imencode(".png", image)
    if not is_encoded:
        raise OrthoEdgeError(f"cannot encode {image.dtype} {image.shape} as PNG")
    return encoded.tobytes()


def _entries(radiograph: Radiograph, finding: Finding, heat: Heat | None) -> list[Entry]:
    """Return the entries of the caption, most important first."""
    verdict = finding.verdict
    reasons = [Entry(reason) for reason in verdict.reasons]
    if heat is None:  # a label next to a rejection would be read as a result
        return [Entry("REJECT: no answer is given", "reject"), *reasons, Entry(finding.notice)]
    result = f"{verdict.label} {percentage(verdict.probabilities[verdict.label])}"
    if verdict.decision == "refer":
        entries = [Entry(f"{result}\nREFER: a human must read this", "refer")]
    else:
        entries = [Entry(f"{result}\nREPORT: an answer is given", "report")]
    entries += [*reasons, _legend(radiograph, finding, heat), *_outlined(finding)]
    if radiograph.spacing_mm is not None:
        across = radiograph.spacing_mm[1]
        length = round_length(radiograph.pixels.shape[1] * across / 4)
        plane = radiograph.spacing_plane
        where = f" at the {plane}" if plane else ", plane not stated"
        entries.append(Entry(f"{plain(length)} mm{where}", "ruler", length / across))
    return [*entries, Entry(finding.notice)]


def _legend(radiograph: Radiograph, finding: Finding, heat: Heat) -> Entry:
    notes = legend_of(radiograph, finding, heat)
    if "empty" in notes:
        return Entry("The map is empty: no place stood out.")
    place = "where the network looked, not where the disease is"
    return Entry("; ".join([place, *(_NOTES[note] for note in notes)]), "colours")


def _outlined(finding: Finding) -> list[Entry]:
    """Return what is outlined in words; nothing where the bundle has no such output."""
    if finding.lesions is None:
        return []
    text = summary_of(finding.lesions)
    if not finding.lesions:
        return [Entry(f"{text[0].upper()}{text[1:]}.")]
    return [Entry(f"dashes: {text}", "outline")]
