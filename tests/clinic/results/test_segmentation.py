"""The segmentation is the map, as hundredths of its peak, on the pixels of the image."""

import io

import cv2
import numpy as np
import pydicom

from orthoedge.clinic.results import encode_result, make_result
from orthoedge.runtime.overlay.colormap import map_over_field
from tests.helpers.clinic.answers import answer, ramp
from tests.helpers.clinic.images import COLUMNS, INSTANCE, ROWS, source


def read(given):
    data = encode_result(make_result("segmentation", source(), given))
    return pydicom.dcmread(io.BytesIO(data))


def test_the_values_are_those_of_the_map():
    given = answer()
    segmentation = read(given)
    stored = segmentation.pixel_array / segmentation.MaximumFractionalValue
    finding = given.finding
    heat = map_over_field(finding.saliency_map, finding.placement, finding.input_size)
    expected = cv2.resize(heat, (COLUMNS, ROWS), interpolation=cv2.INTER_LINEAR)
    assert np.abs(stored - expected).max() <= 0.5001 / 100  # a hundredth is a step
    assert stored.max() > 0.9


def test_a_resampled_image_gets_the_map_in_its_own_size():
    assert read(answer(pixels=ramp(2 * ROWS))).pixel_array.shape == (ROWS, COLUMNS)


def test_the_segment_is_called_a_map_and_not_a_lesion():
    (segment,) = read(answer()).SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "130403"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "309825002"


def test_it_refers_to_the_image():
    assert INSTANCE in read(answer()).to_json()


def test_an_empty_map_and_a_rejection_have_no_segmentation():
    empty = answer(saliency=np.zeros((7, 7), np.float32))
    assert make_result("segmentation", source(), empty) is None
    assert make_result("segmentation", source(), answer("reject")) is None
