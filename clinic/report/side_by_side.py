"""The radiograph next to the same under its map, with the finding in words of any language."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from orthoedge.clinic.report.caption import Caption, CaptionEntry
from orthoedge.clinic.words import Catalogue, ImageFacts, catalogue, finding_words
from orthoedge.clinic.words.extent import extent_of, extent_text
from orthoedge.runtime.overlay.caption import BACKGROUND, round_length
from orthoedge.runtime.overlay.colormap import Heat, Picture
from orthoedge.runtime.overlay.layout import CAPTION_WIDTHS, CaptionSize
from orthoedge.runtime.overlay.pair import GAP, draw_pair
from orthoedge.runtime.overlay.panel import LegendNote, checked_heat, legend_of

if TYPE_CHECKING:
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph

__all__ = ["caption_entries", "draw_with_words"]

# Of a desk, in x-heights: at least 400 mm wide and read from 70 cm. There an x-height of 3.5 mm is
# 17 minutes of arc; ISO 9241-303 asks for capitals of at least 16, which are 1.3 times as high.
_SCREEN = (112.0, 67.2)
_FREE = 7.0  # x-heights at the top right: a viewer writes the name and the series there
_LEGEND: dict[LegendNote, str] = {
    "half": "page.viewer.contour_meaning",
    "outside": "page.viewer.contour_outside",
    "margin": "page.viewer.margin_meaning",
}


def draw_with_words(radiograph: Radiograph, finding: Finding, language: str) -> Picture:
    """Draw the plain radiograph, the same under its map, and a caption.

    Args:
        radiograph: as read.
        finding: its finding.
        language: one of `LANGUAGES`.

    Returns:
        uint8 (H, W, 3), BGR; as large as fits 1920×1152 pixels, unless the caption is very long.

    Raises:
        InputError: an array of another shape or type, or a map that is negative or not finite.
        ConfigError: no such language, or no font for a script of the words.
        MissingDependency: typst is not installed.
    """
    texts = catalogue(language)
    heat = checked_heat(radiograph, finding)
    longest = radiograph.pixels.shape[1] / 4
    caption = Caption(caption_entries(radiograph, finding, heat, texts, longest), texts)
    size = _below_a_viewers_words(caption.size((*CAPTION_WIDTHS, _SCREEN[0] - GAP, _SCREEN[0])))
    pair = draw_pair(radiograph, finding, heat, size, _SCREEN)
    layout = pair.layout
    room = (layout.caption_width - 2) / layout.zoom  # between the margins
    if room < longest:
        caption = Caption(caption_entries(radiograph, finding, heat, texts, room), texts)
    words = caption.draw(round(layout.caption_width * pair.unit), pair.unit, pair.scale)
    (rows, columns), (high, wide) = pair.panels.shape[:2], words.shape[:2]
    x, y = (columns, round(_FREE * pair.unit)) if layout.is_right else (0, rows)
    canvas: Picture = np.full(
        (max(rows, y + high), max(columns, x + wide), 3), BACKGROUND, np.uint8
    )
    canvas[:rows, :columns] = pair.panels
    canvas[y : y + high, x : x + wide] = words
    return canvas


def _below_a_viewers_words(size: CaptionSize) -> CaptionSize:
    """Add the free room above a caption at the right."""

    def height(width: float) -> float:
        return size.height(width) + (_FREE if width in CAPTION_WIDTHS else 0.0)

    return replace(size, height=height)


def caption_entries(
    radiograph: Radiograph, finding: Finding, heat: Heat | None, texts: Catalogue, longest: float
) -> list[CaptionEntry]:
    """Return the entries of the caption, most important first.

    Args:
        radiograph: as read.
        finding: its finding.
        heat: from `checked_heat`.
        texts: of the language of the words.
        longest: length of a ruler, in pixels of the radiograph, at most.
    """
    rows, columns = radiograph.pixels.shape
    facts = ImageFacts(columns=columns, rows=rows)
    words = finding_words(finding.to_json(), facts, texts.language, "operator")
    entries = [CaptionEntry(kind="decision", text=words.headline, decision=finding.decision)]
    if heat is not None:  # a label next to a rejection would be read as a result
        name = f"label.{finding.label}"
        shown = texts.text(name) if name in texts.ids else finding.label
        probability = texts.probability(finding.probabilities[finding.label])
        entries.append(CaptionEntry(kind="row", name=shown, text=probability))
    sentences = filter(None, (*words.reasons, words.cannot_rule_out))
    entries += [CaptionEntry(kind="text", text=sentence) for sentence in sentences]
    if heat is not None:
        entries += _legend(legend_of(radiograph, finding, heat), texts)
        entries += _outlined(finding, texts)
        entries += _ruler(radiograph, texts, longest)
    notices = [words.notice, texts.text("report.bundle_notice", notice=finding.notice)]
    notices += [] if texts.is_reviewed else [texts.text("page.not_reviewed")]
    return [*entries, *(CaptionEntry(kind="small", text=notice) for notice in notices)]


def _legend(notes: tuple[LegendNote, ...], texts: Catalogue) -> list[CaptionEntry]:
    if "empty" in notes:
        return [CaptionEntry(kind="text", text=texts.text("page.viewer.map_empty"))]
    names = ["page.viewer.map_meaning", *(_LEGEND[note] for note in notes)]
    return [CaptionEntry(kind="colours", text=texts.sentences(texts.text(name) for name in names))]


def _outlined(finding: Finding, texts: Catalogue) -> list[CaptionEntry]:
    """Return what is outlined in words; nothing where the bundle has no such output."""
    if finding.lesions is None:
        return []
    if not finding.lesions:
        return [CaptionEntry(kind="text", text=texts.text("page.viewer.outline_none"))]
    size = texts.isolate(extent_text(extent_of(finding.to_json()), texts))
    return [
        CaptionEntry(kind="outline", text=texts.text("page.viewer.outline_meaning")),
        CaptionEntry(kind="row", name=texts.text("report.size"), text=size),
    ]


def _ruler(radiograph: Radiograph, texts: Catalogue, longest: float) -> list[CaptionEntry]:
    if radiograph.spacing_mm is None:
        return []
    across = radiograph.spacing_mm[1]
    length = round_length(longest * across)
    shown = texts.text("page.viewer.length", length=length)
    plane = texts.text(f"page.viewer.plane_{radiograph.spacing_plane or 'unknown'}")
    return [
        CaptionEntry(kind="ruler", text=shown, length=length / across),
        CaptionEntry(kind="small", text=plane),
    ]
