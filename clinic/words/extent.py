"""How far a finding reaches: in millimetres where a lesion is outlined, else as a share of the map.

The line of the map encloses what lies above half of its peak. That says where the program looked,
and is no size of a lesion: it is given so that two radiographs can be compared, with those words.
"""

from __future__ import annotations

import numpy as np

from orthoedge.clinic.words.catalogue import Catalogue
from orthoedge.clinic.words.facts import Extent
from orthoedge.clinic.words.finding_words import decode_finding
from orthoedge.clinic.words.record import FindingRecord
from orthoedge.runtime.overlay.colormap import map_over_field

__all__ = ["extent_of", "extent_text", "share_text"]

_HALF = 0.5
_ROUND = 0.1
_NORMAL = "non-affected"


def extent_of(finding: bytes | FindingRecord) -> Extent | None:
    """Measure how far a finding reaches.

    Args:
        finding: its JSON, or what that decodes to.

    Returns:
        None for a rejected radiograph, and where neither a lesion is outlined nor a map belongs to
        one: that of `non-affected` shows nothing that could grow.

    Raises:
        InputError: not the JSON of a finding.
    """
    record = decode_finding(finding) if isinstance(finding, bytes) else finding
    if record.decision == "reject":
        return None
    if record.lesions is not None:
        largest = record.largest_measured
        outlined = sum(region.area_px for region in record.lesions)
        x0, y0, x1, y1 = record.placement.field
        return Extent(
            "outline",
            min(1.0, outlined / ((x1 - x0) * (y1 - y0))),
            largest.diameter_mm if largest else None,
            (largest.plane or "") if largest else "",
        )
    if record.label == _NORMAL:
        return None
    saliency = np.array(record.saliency_map, np.float32)
    heat = map_over_field(saliency, record.placement, record.input_size)
    return Extent("map", float((heat >= _HALF).mean()), None, "")


def extent_text(extent: Extent | None, texts: Catalogue) -> str:
    """Write an extent as a cell of a table; a dash for none."""
    if extent is None:
        return "–"
    if extent.diameter_mm is not None:
        return texts.millimetres(extent.diameter_mm)
    if extent.kind == "outline" and not extent.share:
        return texts.text("page.compare.extent_nothing")
    name = "page.compare.extent_outlined" if extent.kind == "outline" else "page.compare.extent_map"
    return texts.text(name, share=share_text(extent.share, texts))


def share_text(share: float, texts: Catalogue) -> str:
    """Write a share, with a decimal where it is small."""
    return texts.percent(share, 0 if share >= _ROUND else 1)
