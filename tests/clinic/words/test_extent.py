"""An extent is that of an outlined lesion, or of the map, and says which."""

import json

import cv2
import numpy as np
import pytest

from orthoedge.clinic.words import ImageFacts, catalogue, finding_words
from orthoedge.clinic.words.extent import extent_of, extent_text
from orthoedge.clinic.words.facts import Extent
from orthoedge.runtime.overlay.colormap import trace_contour
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.pages import SAMPLES

REGION = {"area_px": 500.0, "diameter_mm": 12.5, "plane": "detector"}


@pytest.fixture(scope="module")
def finding():
    found = json.loads(open_pipeline("phantom", target="portable").predict(SAMPLES[0]).to_json())
    return found | {"decision": "refer", "label": "fracture"}


def extent(finding, **changes):
    return extent_of(json.dumps(finding | changes).encode())


def test_that_of_the_map_is_what_its_line_encloses(finding):
    measured = extent(finding)
    assert (measured.kind, measured.diameter_mm, measured.plane) == ("map", None, "")
    x0, y0, x1, y1 = finding["placement"]["content"]
    whole = np.array(finding["saliency_map"], np.float32)
    size = finding["input_size"]
    heat = cv2.resize(whole / whole.max(), (size, size), interpolation=cv2.INTER_CUBIC)[
        y0:y1, x0:x1
    ]
    lines = trace_contour(np.clip(heat, 0, 1), y1 - y0, x1 - x0)
    enclosed = sum(cv2.contourArea(line.astype(np.float32), oriented=True) for line in lines)
    assert abs(enclosed) / heat.size == pytest.approx(measured.share, rel=0.05)  # of small pixels


def test_that_of_an_outlined_lesion_is_in_millimetres_where_they_are_known(finding):
    x0, y0, x1, y1 = finding["placement"]["field"]
    share = 500.0 / ((x1 - x0) * (y1 - y0))
    assert extent(finding, lesions=[REGION]) == Extent("outline", share, 12.5, "detector")
    unknown = REGION | {"diameter_mm": None, "plane": None}
    assert extent(finding, lesions=[unknown]) == Extent("outline", share, None, "")
    assert extent(finding, lesions=[]) == Extent("outline", 0.0, None, "")


def test_there_is_none_of_a_rejected_radiograph_nor_of_a_map_that_shows_nothing(finding):
    assert extent(finding, decision="reject") is None
    assert extent(finding, label="non-affected") is None
    assert extent(finding, label="non-affected", lesions=[REGION]) is not None


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (None, "–"),
        (Extent("outline", 0.1, 12.5, "detector"), "12 mm"),
        (Extent("outline", 0.0, None, ""), "nothing outlined"),
        (Extent("outline", 0.25, None, ""), "25% outlined"),
        (Extent("map", 0.062, None, ""), "6.2% (map)"),
    ],
)
def test_a_cell_says_what_was_measured(measured, text):
    assert extent_text(measured, catalogue("en")) == text


def test_the_words_for_staff_say_that_the_map_is_no_size_of_a_lesion(finding):
    where = {
        reader: finding_words(finding, ImageFacts(), "en", reader).where
        for reader in ("operator", "patient")
    }
    assert "of the exposed picture; this is no size of a lesion." in where["operator"]
    assert "map" not in where["patient"]
    outlined = finding_words(finding | {"lesions": [REGION]}, ImageFacts(), "en", "operator").where
    assert "12 mm across" in outlined
    assert "of the exposed picture" not in outlined
