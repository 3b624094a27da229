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
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.lesions.measure import Point
from orthoedge.runtime.lesions.wording import summary_of
from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.overlay.caption import BACKGROUND, Entry, line_width, round_length
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.overlay.layout import SCREEN, add_caption, fit_layout
from orthoedge.runtime.overlay.panel import draw_panel
from orthoedge.runtime.pipeline import Finding
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels
from orthoedge.runtime.settings import plain

_SMALLEST_UNIT = 10  # pixels of an x-height; in a smaller one the letters run together
_SIDE_WIDTH = 1920  # pixels of the side-by-side, at most
_GAP = 0.5
_ACROSS = 0.95  # panels side by side are easier to compare, even if slightly smaller
_INPUT_SIDE = 36  # x-heights of the model input's side: its contour is as wide as an overlay's


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
    heat = _checked_heat(radiograph, finding)
    rows, columns = radiograph.pixels.shape
    entries = _entries(radiograph, finding, heat)
    layout = fit_layout(columns, rows, entries)
    factor = max(1, math.ceil(_SMALLEST_UNIT * layout.zoom))
    unit = factor / layout.zoom
    shape = (columns * factor, rows * factor)
    shown = radiograph.pixels
    if factor > 1:
        enlarged = cv2.resize(shown, shape, interpolation=cv2.INTER_NEAREST)
        shown = enlarged.astype(np.uint8, copy=False)
    # The panel has no name here, so that its memory is freed before the caption is drawn.
    return add_caption(
        draw_panel(shown, heat, finding.placement, factor, unit, _contours(finding)),
        entries,
        layout,
        unit,
        factor,
    )


def side_by_side(
    radiograph: Radiograph, finding: Finding, screen: tuple[float, float] = SCREEN
) -> Picture:
    """Draw the plain radiograph, the same under its map, and a caption.

    Args:
        radiograph: as read.
        finding: its finding.
        screen: width and height of the screen that it is for, in x-heights.

    Returns:
        uint8 (H', W', 3), BGR; as large as fits 1920×1153 pixels, unless the caption is very long.
        The panels are one above the other where they are larger that way.

    Raises:
        InputError: as `overlay`.
    """
    heat = _checked_heat(radiograph, finding)
    rows, columns = radiograph.pixels.shape
    entries = _entries(radiograph, finding, heat)
    across = fit_layout(2 * columns, rows, entries, (screen[0] - _GAP, screen[1]))
    down = fit_layout(columns, 2 * rows, entries, (screen[0], screen[1] - _GAP))
    layout = across if across.zoom >= _ACROSS * down.zoom else down
    unit = _SIDE_WIDTH / screen[0]
    scale = layout.zoom * unit
    shape = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(radiograph.pixels, shape, interpolation=interpolation).astype(np.uint8)
    plain: Picture = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    marked = draw_panel(shown, heat, finding.placement, scale, unit, _contours(finding))
    gap = round(_GAP * unit)
    shape = (gap, shape[0]) if layout is down else (shape[1], gap)
    between = np.full((*shape, 3), BACKGROUND, np.uint8)
    panels: Picture = np.concatenate([plain, between, marked], axis=0 if layout is down else 1)
    return add_caption(panels, entries, layout, unit, scale)


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


def _checked_heat(radiograph: Radiograph, finding: Finding) -> Heat | None:
    """Check both arrays, and return the map over the field; None for a rejected radiograph."""
    pixels, saliency = radiograph.pixels, finding.saliency_map
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
        )
    if finding.decision == "reject":
        return None
    if saliency.ndim != 2 or saliency.size == 0:
        raise InputError(f"expected a saliency map as float32 (h, w), got {saliency.shape}")
    if not np.isfinite(saliency).all() or saliency.min() < 0:
        raise InputError("saliency map holds negative or non-finite values")
    return colormap.map_over_field(saliency, finding.placement, finding.input_size)


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
    if not finding.saliency_map.any():
        return Entry("The map is empty: no place stood out.")
    notes = ["where the network looked, not where the disease is"]
    rows, columns = radiograph.pixels.shape
    if heat.max() >= 0.5:
        notes.append("line: half of the peak")
    else:
        notes.append("no line: the peak lies outside the radiograph")
    if finding.placement.field != (0, 0, columns, rows):
        notes.append("dark margin: not looked at")
    return Entry("; ".join(notes), "colours")


def _contours(finding: Finding) -> list[tuple[Point, ...]]:
    return [lesion.contour for lesion in finding.lesions or ()]


def _outlined(finding: Finding) -> list[Entry]:
    """Return what is outlined in words; nothing where the bundle has no such output."""
    if finding.lesions is None:
        return []
    text = summary_of(finding.lesions)
    if not finding.lesions:
        return [Entry(f"{text[0].upper()}{text[1:]}.")]
    return [Entry(f"dashes: {text}", "outline")]
