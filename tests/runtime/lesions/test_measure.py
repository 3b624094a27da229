"""Regions of a mask are measured where they are, as large as they are, in the plane of the file."""

import cv2
import numpy as np
import pytest

from orthoedge.runtime.lesions.measure import measure_lesions
from orthoedge.runtime.lesions.wording import area_of, caveat_of, size_of, summary_of
from orthoedge.runtime.preprocess import STANDARD, LetterboxTransform
from orthoedge.training.evaluation.lesion_overlap import cover_of_mask, to_cells
from orthoedge.training.phantoms.render import render

WHOLE = LetterboxTransform(field=(0, 0, 448, 448), content=(0, 0, 224, 224))
CELLS = (28, 28)


def cells_of(mask, placement):
    """The true mask at the network's resolution."""
    return to_cells(cover_of_mask(mask > 0, placement, 224), CELLS)


def ellipse(shape, centre, axes, angle=0):
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, centre, axes, angle, 0, 360, 255, -1)
    return mask


def diameter(mask):
    points = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))[:, 0]
    return float(np.linalg.norm(points[:, None] - points[None], axis=2).max()) + 1


def test_diameters_of_phantoms_are_within_a_tenth_of_the_true_ones_in_the_median():
    errors = []
    for index in range(20):
        phantom = render(21, index, 256)
        count, _ = cv2.connectedComponents(phantom.mask)
        if count == 2:  # one region, besides the background
            placement = STANDARD.prepare(phantom.image)[1]
            spacing = (0.143, 0.143)
            found = measure_lesions(
                cells_of(phantom.mask, placement), placement, 224, spacing, None
            )
            true = diameter(phantom.mask) * spacing[0]
            errors.append(abs(found[0].diameter_mm - true) / true if found else 1.0)
    assert len(errors) > 10
    assert np.median(errors) <= 0.10


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_place_diameter_and_area_are_those_of_an_ellipse(angle):
    mask = ellipse((448, 448), (300, 150), (60, 30), angle)
    (lesion,) = measure_lesions(cells_of(mask, WHOLE), WHOLE, 224, None, None)
    assert lesion.diameter_px == pytest.approx(121, rel=0.06)
    assert lesion.area_px == pytest.approx(np.pi * 60 * 30, rel=0.06)
    contour = np.array(lesion.contour)
    assert np.allclose(contour.min(0) / 2 + contour.max(0) / 2, (300, 150), atol=4)
    drawn = np.zeros((448, 448), np.uint8)
    cv2.fillPoly(drawn, [np.rint(contour).astype(np.int32)], 255)
    both = (drawn > 0) & (mask > 0)
    assert 2 * both.sum() / ((drawn > 0).sum() + (mask > 0).sum()) > 0.93
    assert lesion.diameter_mm is lesion.area_mm2 is lesion.plane is None


def test_a_field_inside_the_radiograph_is_measured_in_pixels_of_the_radiograph():
    placement = LetterboxTransform(field=(200, 100, 1000, 500), content=(0, 56, 224, 168))
    mask = ellipse((700, 1200), (600, 300), (100, 100))
    (lesion,) = measure_lesions(cells_of(mask, placement), placement, 224, (0.1, 0.1), "detector")
    assert lesion.diameter_px == pytest.approx(201, rel=0.05)
    assert lesion.diameter_mm == pytest.approx(20.1, rel=0.05)
    assert np.allclose(np.mean(lesion.contour, axis=0), (600, 300), atol=12)


def test_pixels_that_are_not_square_give_true_millimetres():
    """A disc of 40 mm, on pixels twice as high as wide: 200 rows and 400 columns of pixels."""
    mask = ellipse((448, 448), (224, 224), (100, 50))
    (lesion,) = measure_lesions(cells_of(mask, WHOLE), WHOLE, 224, (0.4, 0.2), "patient")
    assert lesion.diameter_mm == pytest.approx(40, rel=0.05)
    assert lesion.area_mm2 == pytest.approx(np.pi * 20**2, rel=0.05)
    assert lesion.diameter_px == pytest.approx(201, rel=0.05)
    assert lesion.plane == "patient"


def test_regions_are_told_apart_and_the_largest_comes_first():
    mask = ellipse((448, 448), (100, 100), (30, 30)) | ellipse((448, 448), (300, 300), (60, 60))
    lesions = measure_lesions(cells_of(mask, WHOLE), WHOLE, 224, None, None)
    assert [round(lesion.diameter_px / 10) for lesion in lesions] == [12, 6]


def test_nothing_is_outlined_below_one_half_nor_in_the_padding():
    assert measure_lesions(np.full(CELLS, 0.49, np.float32), WHOLE, 224, None, None) == ()
    placement = LetterboxTransform(field=(0, 0, 448, 224), content=(0, 56, 224, 168))
    mask = np.zeros(CELLS, np.float32)
    mask[:6] = 1  # the padding above the radiograph ends at 7
    assert measure_lesions(mask, placement, 224, None, None) == ()
    (lesion,) = measure_lesions(np.ones(CELLS, np.float32), placement, 224, None, None)
    assert lesion.area_px == pytest.approx(448 * 224)
    assert np.array(lesion.contour).min() >= -0.5


@pytest.mark.parametrize(
    ("spacing", "plane", "said", "caveat"),
    [
        (None, None, "px across", ""),
        ((0.2, 0.2), "detector", "at the detector", "magnified"),
        ((0.2, 0.2), "patient", "calibrated", "one depth"),
        ((0.2, 0.2), None, "plane not stated", "does not state"),
    ],
)
def test_words_name_the_plane_and_its_caveat(spacing, plane, said, caveat):
    mask = ellipse((448, 448), (224, 224), (50, 50))
    lesions = measure_lesions(cells_of(mask, WHOLE), WHOLE, 224, spacing, plane)
    assert said in size_of(lesions[0])
    assert said in summary_of(lesions)
    assert area_of(lesions[0]).endswith("px" if spacing is None else "mm²")
    assert caveat in "".join(caveat_of(lesions))
    assert bool(caveat_of(lesions)) == (spacing is not None)
    assert summary_of(()) == "nothing is outlined"
