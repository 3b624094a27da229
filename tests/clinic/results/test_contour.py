"""The presentation state draws the line of the picture, and keeps the grey scale of the image."""

import cv2
import numpy as np
import pytest

from orthoedge.clinic.results import encode_result, make_result
from orthoedge.clinic.results.hot_region import contours_on_image
from orthoedge.clinic.results.source import usable_header
from tests.helpers.clinic.answers import answer, hot_map, ramp
from tests.helpers.clinic.headers import HEADERS
from tests.helpers.clinic.images import COLUMNS, ROWS, image_file, limb, source
from tests.helpers.clinic.programs import require, run


def shown(tmp_path, header, with_state=True):
    """What dcmp2pgm shows of an image, uint8 (H, W)."""
    require("dcmp2pgm")
    image, state, picture = (tmp_path / name for name in ("image.dcm", "state.dcm", "shown.pgm"))
    image.write_bytes(image_file(header))
    state.write_bytes(encode_result(make_result("contour", source(header), answer())))
    arguments = ["--pstate", state] if with_state else []
    status, output = run("dcmp2pgm", *arguments, image, picture)
    assert status == 0, output
    return cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("header", ["complete", "MONOCHROME1", "DX for presentation, inverse"])
def test_the_image_looks_the_same_with_the_state_as_without(tmp_path, header):
    alone = shown(tmp_path, HEADERS[header], with_state=False)
    with_state = shown(tmp_path, HEADERS[header])
    # One grey level: the program rounds through tables of different depths.
    assert np.abs(alone.astype(int) - with_state).max() <= 1
    middle = np.corrcoef(with_state.ravel(), limb().ravel())[0, 1]
    assert middle > 0.9 if header == "complete" else middle < -0.9


def test_the_window_of_the_image_is_repeated():
    state = make_result("contour", source(), answer())
    (item,) = state.SoftcopyVOILUTSequence
    assert (item.WindowCenter, item.WindowWidth) == (2048, 4096)


def inside(lines, shape):
    """Pixels whose centres the lines enclose."""
    mask = np.zeros(shape, np.uint8)
    for line in lines:
        points = np.rint((line - 0.5) * 16).astype(np.int32)  # cv2: 0 is the first centre
        cv2.fillPoly(mask, [points], 1, shift=4)
    return mask.astype(bool)


@pytest.mark.parametrize(("row", "column"), [(3, 3), (2, 2), (4, 4)])
def test_the_contour_encloses_what_is_hotter_than_half(row, column):
    given = answer(saliency=hot_map(row, column))
    header = usable_header(source())
    mask = inside(contours_on_image(header, given), (ROWS, COLUMNS))
    y, x = np.argwhere(mask).mean(axis=0)
    # The model input is a square around the image: 120 rows are 7 cells, and so are 120 columns.
    expected = ((row + 0.5) * ROWS / 7, (column + 0.5) * ROWS / 7 - (ROWS - COLUMNS) / 2)
    assert np.hypot(y - expected[0], x - expected[1]) < 1.5  # pixels; a cell has 17


def test_the_contour_is_in_pixels_of_the_stored_image_where_the_reader_resampled_it():
    header = usable_header(source())
    (line,) = contours_on_image(header, answer(pixels=ramp(2 * ROWS)))
    assert line[:, 1].max() < ROWS
    assert abs(line[:, 1].mean() - ROWS / 2) < 3  # the peak is in the middle of the map


@pytest.mark.parametrize(("rows", "aspect"), [(ROWS, [1, 1]), (2 * ROWS, [2, 1])])
def test_pixels_that_are_not_square_are_shown_in_their_proportion(rows, aspect):
    state = make_result("contour", source(), answer(pixels=ramp(rows)))
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.PresentationPixelAspectRatio == aspect


def test_the_lines_are_closed_and_inside_the_image():
    state = make_result("contour", source(), answer(saliency=hot_map(0, 3)))
    for item in state.GraphicAnnotationSequence[0].GraphicObjectSequence:
        points = np.reshape(item.GraphicData, (-1, 2))
        assert np.array_equal(points[0], points[-1])
        assert points.min() >= 0
        assert (points <= [COLUMNS, ROWS]).all()


def test_the_words_give_label_decision_and_research():
    (text,) = (
        make_result("contour", source(), answer()).GraphicAnnotationSequence[0].TextObjectSequence
    )
    words = text.UnformattedTextValue
    assert "fracture 62.0%" in words
    assert "REFER" in words
    assert "RESEARCH" in words


def test_a_map_without_a_peak_and_a_rejection_have_no_contour():
    assert make_result("contour", source(), answer(saliency=np.zeros((7, 7), np.float32))) is None
    assert make_result("contour", source(), answer("reject")) is None
