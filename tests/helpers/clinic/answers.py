"""Answers of a pipeline that nothing had to run for."""

import dataclasses
from datetime import datetime, timezone

import numpy as np

from orthoedge.clinic.results import Answer
from orthoedge.runtime.decision import Verdict
from orthoedge.runtime.finding import Finding, Provenance, Thresholds, Timing
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.lesions.measure import Lesion
from orthoedge.runtime.preprocess import STANDARD
from tests.helpers.clinic.images import COLUMNS, ROWS

RECEIVED = datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc)
SHA256 = "ab" * 32
PROBABILITIES = {
    "fracture": 0.62,
    "non-affected": 0.05,
    "tumor-benign": 0.3,
    "tumor-malignant": 0.03,
}
REASON = "cannot rule out tumor-benign"
REJECTION = "not like a bone radiograph of the kind it was trained on"


def hot_map(row=3, column=3):
    """A map with its peak in one cell, float32 (7, 7)."""
    y, x = np.mgrid[:7, :7]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2.0).astype(np.float32)


def ramp(rows=ROWS):
    """A picture without a margin that would be cut off, uint8 (rows, COLUMNS)."""
    return np.tile(np.linspace(20, 170, COLUMNS).astype(np.uint8), (rows, 1))


def outlined(plane="detector", **changes):
    """A region of 20 by 10 pixels, measured in millimetres unless `changes` take them away."""
    region = Lesion(
        contour=((10.0, 20.0), (30.0, 20.0), (30.0, 30.0), (10.0, 30.0)),
        probability=0.875,
        diameter_px=23.4,
        diameter_ends=((10.0, 20.0), (30.0, 30.0)),
        area_px=231.0,
        diameter_mm=4.68,
        area_mm2=9.24,
        plane=plane,
    )
    return dataclasses.replace(region, **changes)


def answer(
    decision="refer",
    probabilities=None,
    saliency=None,
    pixels=None,
    reasons=None,
    lesions=None,
    **provenance,
):
    """An answer about the image of `images`, or about `pixels`."""
    probabilities = PROBABILITIES if probabilities is None else probabilities
    if pixels is None:
        pixels = ramp()
    if reasons is None:
        reasons = {"report": (), "refer": (REASON,), "reject": (REJECTION,)}[decision]
    label = max(probabilities, key=probabilities.get)
    ranked = tuple(sorted(probabilities, key=lambda each: -probabilities[each]))
    finding = Finding(
        verdict=Verdict(label, probabilities, ranked[:2], 0.5, decision, reasons),
        saliency_map=hot_map() if saliency is None else saliency,
        placement=STANDARD.prepare(pixels)[1],
        input_size=STANDARD.size,
        notes=(),
        notice="Research only.",
        thresholds=Thresholds(1.5, 0.9, dict.fromkeys(probabilities, 0.2), 3.0, 4.0),
        provenance=dataclasses.replace(
            Provenance("bones", "1.2.3", SHA256, "openvino", "2026.1", "int8", "avx2", 2, ""),
            **provenance,
        ),
        timing_ms=Timing(1.0, 1.0, 1.0, 1.0),
        lesions=lesions,
    )
    return Answer(finding, Radiograph(pixels, 12, None, ()), RECEIVED)
