"""The Secondary Capture holds the picture that is drawn elsewhere, pixel by pixel."""

import dataclasses
import io

import cv2
import numpy as np
import pydicom
import pytest

from orthoedge.clinic.report import side_by_side
from orthoedge.clinic.report.side_by_side import draw_with_words
from orthoedge.clinic.results import encode_result, make_result
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.images import INSTANCE, source
from tests.helpers.clinic.programs import errors_of

pytest.importorskip("typst")


def read(given):
    return pydicom.dcmread(io.BytesIO(encode_result(make_result("picture", source(), given))))


@pytest.mark.parametrize(("decision", "language"), [("refer", "en"), ("reject", "sw")])
def test_the_pixels_are_those_of_the_drawing(decision, language):
    given = dataclasses.replace(answer(decision), language=language)
    drawn = draw_with_words(given.radiograph, given.finding, language)
    picture = read(given)
    assert picture.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    stored = picture.pixel_array[: drawn.shape[0]]
    assert np.array_equal(stored, cv2.cvtColor(drawn, cv2.COLOR_BGR2RGB))


@pytest.mark.parametrize("shape", [(301, 503), (301, 502), (300, 503), (300, 502), (1, 1)])
def test_a_picture_of_any_size_is_encoded(monkeypatch, shape):
    drawn = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    monkeypatch.setattr(side_by_side, "draw_with_words", lambda *_: drawn)
    stored = read(answer()).pixel_array
    assert stored.shape[0] * stored.shape[1] % 2 == 0
    assert np.array_equal(stored[: shape[0]], cv2.cvtColor(drawn, cv2.COLOR_BGR2RGB))


def test_a_rejection_shows_no_colour_of_the_map():
    pixels = read(answer("reject")).pixel_array.astype(int)
    assert (pixels.max(axis=-1) == pixels.min(axis=-1)).all()


def test_the_picture_says_that_words_are_burnt_in_and_which_image_it_is_about():
    picture = read(answer())
    assert picture.BurnedInAnnotation == "YES"
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == INSTANCE
    assert next(iter(picture.ImageType)) == "DERIVED"


@pytest.mark.parametrize("ratio", [None, ("DS", "9.5 "), ("DS", "much")])
@pytest.mark.parametrize("kind", ["picture", "segmentation"])
def test_what_is_made_of_a_lossy_image_says_that_it_was_one(kind, ratio, tmp_path):
    changes = {
        0x00282110: ("CS", "01"),
        0x00282112: ratio,
        0x00282114: ("CS", "ISO_10918_1 "),
    }
    result = make_result(kind, source(changes), answer())
    assert result.LossyImageCompression == "01"
    assert result.get("LossyImageCompressionRatio") == (9.5 if ratio == ("DS", "9.5 ") else None)
    assert make_result(kind, source(), answer()).get("LossyImageCompression") in (None, "00")
    file = tmp_path / "result.dcm"
    file.write_bytes(encode_result(result))
    assert errors_of(file) == []
