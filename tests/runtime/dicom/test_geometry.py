"""Spacing named by its plane, square pixels, and the display shutter."""

import math
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("pydicom")

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.dicom_bytes import EXPLICIT, IMPLICIT
from tests.runtime.dicom.drawn import PLAIN, STORED, drawn, read

PIXEL, IMAGER, FILM = 0x00280030, 0x00181164, 0x00182010
KIND, MAGNIFICATION, RATIO = 0x00280A02, 0x00181114, 0x00280034
SHAPE = 0x00181600
RECTANGLE = (0x00181606, 0x00181608, 0x00181602, 0x00181604)  # upper, lower, left, right


def spacing_of(*elements, syntax=EXPLICIT):
    changes = [(tag, "CS" if tag == KIND else "DS", value) for tag, value in elements]
    radiograph = read(drawn(changes, syntax=syntax))
    assert np.array_equal(radiograph.pixels, PLAIN)
    return radiograph.spacing_mm, radiograph.spacing_plane


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    ("elements", "spacing", "plane"),
    [
        ([(IMAGER, "0.2\\0.2")], 0.2, "detector"),
        ([(FILM, "0.1\\0.1")], 0.1, "detector"),
        ([(IMAGER, "0.2\\0.2"), (FILM, "0.1\\0.1")], 0.2, "detector"),
        ([(PIXEL, "0.2\\0.2"), (IMAGER, "0.2\\0.2")], 0.2, "detector"),
        ([(PIXEL, "0.143\\0.143"), (IMAGER, "0.14300001\\.143")], 0.143, "detector"),
        ([(PIXEL, "0.14\\0.14"), (IMAGER, "0.2\\0.2")], 0.14, "patient"),
        ([(PIXEL, "0.14\\0.14"), (FILM, "0.2\\0.2")], 0.14, "patient"),
        ([(PIXEL, "0.14\\0.14"), (IMAGER, "0.2\\0.2"), (KIND, "GEOMETRY")], 0.14, "patient"),
        ([(PIXEL, "0.2\\0.2"), (IMAGER, "0.2\\0.2"), (KIND, "FIDUCIAL")], 0.2, "patient"),
        ([(PIXEL, "0.14\\0.14"), (KIND, "FIDUCIAL")], 0.14, "patient"),
        ([(PIXEL, "0.14\\0.14")], 0.14, None),
        ([(PIXEL, "0.14\\0.14"), (MAGNIFICATION, "1.25")], 0.14, None),
        ([(IMAGER, "0.2\\0.2"), (MAGNIFICATION, "1.25")], 0.16, "patient"),
        ([(PIXEL, "0.2\\0.2"), (IMAGER, "0.2\\0.2"), (MAGNIFICATION, "1.25")], 0.16, "patient"),
        ([(PIXEL, "0.15\\0.15"), (IMAGER, "0.2\\0.2"), (MAGNIFICATION, "1.25")], 0.15, "patient"),
        ([(PIXEL, "0.14\\0.14"), (IMAGER, "0\\0"), (KIND, "GEOMETRY")], 0.14, "patient"),
        ([(PIXEL, "0\\0"), (IMAGER, "0.2\\0.2"), (KIND, "GEOMETRY")], 0.2, "detector"),
        ([(KIND, "GEOMETRY")], None, None),
    ],
)
def test_a_spacing_is_named_by_its_plane(elements, spacing, plane, syntax):
    """PS3.3 10.7.1.1; of Pixel Spacing alone the plane cannot be determined."""
    millimetres, named = spacing_of(*elements, syntax=syntax)
    assert named == plane
    if spacing is None:
        assert millimetres is None
    else:
        assert millimetres == pytest.approx((spacing, spacing), rel=1e-4)


def test_what_a_magnification_did_is_noted():
    notes = read(drawn([(IMAGER, "DS", "0.2\\0.2"), (MAGNIFICATION, "DS", "1.25")])).notes
    assert notes == ("spacing at the patient estimated by the magnification in the file",)


def linear(column, size):
    """Linear interpolation of a column to `size`, in fractions; ends are repeated."""
    result = []
    for index in range(size):
        at = Fraction(2 * index + 1, 2) * len(column) / size - Fraction(1, 2)
        at = min(max(at, 0), len(column) - 1)
        low = min(math.floor(at), len(column) - 2)
        share = at - low
        result.append(float((1 - share) * int(column[low]) + share * int(column[low + 1])))
    return result


@pytest.mark.parametrize(
    ("element", "shape", "spacing", "times"),
    [
        ((PIXEL, "DS", "0.4\\0.2"), (96, 40), 0.2, "2"),
        ((PIXEL, "DS", "0.2\\0.4"), (48, 80), 0.2, "0.5"),
        ((IMAGER, "DS", "0.15\\0.2"), (48, 53), 0.15, "0.75"),
        ((FILM, "DS", "0.3\\0.2"), (72, 40), 0.2, "1.5"),
        ((RATIO, "IS", "2\\1"), (96, 40), None, "2"),
        ((RATIO, "IS", "3\\4"), (48, 53), None, "0.75"),
    ],
)
def test_pixels_that_are_not_square_are_resampled_to_squares(element, shape, spacing, times):
    radiograph = read(drawn([element]))
    assert radiograph.pixels.shape == shape
    assert radiograph.spacing_mm == (None if spacing is None else (spacing, spacing))
    note = f"pixels {times} times as high as wide, resampled to squares"
    assert radiograph.notes == (note,)
    # OpenCV interpolates in steps of 1/2048 and rounds twice: at most one grey level off.
    if shape[0] != 48:
        expected = np.array([linear(column, shape[0]) for column in PLAIN.T]).T
    else:
        expected = np.array([linear(row, shape[1]) for row in PLAIN])
    assert np.abs(radiograph.pixels - expected).max() <= 1


@pytest.mark.parametrize(
    "element",
    [
        (PIXEL, "DS", "0.2\\0.2"),
        (PIXEL, "DS", "0.1999\\0.2001"),
        (IMAGER, "DS", "0.143\\0.1435"),
        (RATIO, "IS", "1\\1"),
        (RATIO, "IS", "500\\500"),
    ],
)
def test_pixels_that_are_square_to_one_percent_are_left_as_they_are(element):
    radiograph = read(drawn([element]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ()


def test_a_spacing_decides_against_an_aspect_ratio_that_contradicts_it():
    radiograph = read(drawn([(RATIO, "IS", "2\\1"), (IMAGER, "DS", "0.2\\0.2")]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("PixelAspectRatio left out: the spacing in mm contradicts it",)


def test_an_image_that_would_pass_the_limit_is_reduced_along_the_finer_axis():
    data = drawn([(PIXEL, "DS", "0.4\\0.2")])
    assert read_image(data, max_pixels=96 * 40).pixels.shape == (96, 40)
    radiograph = read_image(data, max_pixels=48 * 40)
    assert radiograph.pixels.shape == (48, 20)
    assert radiograph.spacing_mm == (0.4, 0.4)
    expected = (PLAIN[:, ::2].astype(float) + PLAIN[:, 1::2]) / 2
    assert np.abs(radiograph.pixels - expected).max() <= 0.5


def test_the_larger_image_counts_for_the_limit_of_memory():
    stored = np.tile(STORED, (30, 30))
    rows, columns = stored.shape
    square = drawn([(PIXEL, "DS", "0.2\\0.2")], stored)
    oblong = drawn([(PIXEL, "DS", "0.8\\0.2")], stored)
    limit = next(mb / 8 for mb in range(1, 999) if is_read(square, mb / 8))
    more = 4 * rows * columns / 2**20
    assert not is_read(oblong, limit + more - 0.25)
    assert is_read(oblong, limit + more + 0.25)


def is_read(data, memory_mb):
    try:
        return read_image(data, memory_mb=memory_mb) is not None
    except InputError:
        return False


def rectangle(upper, lower, left, right):
    values = (upper, lower, left, right)
    edges = [(tag, "IS", str(v)) for tag, v in zip(RECTANGLE, values, strict=True)]
    return [(SHAPE, "CS", "RECTANGULAR"), *edges]


def circle(row, column, radius):
    return [
        (SHAPE, "CS", "CIRCULAR"),
        (0x00181610, "IS", f"{row}\\{column}"),
        (0x00181612, "IS", str(radius)),
    ]


def polygon(*corners):
    text = "\\".join(f"{row}\\{column}" for row, column in corners)
    return [(SHAPE, "CS", "POLYGONAL"), (0x00181620, "IS", text)]


def joined(*shutters):
    names = "\\".join(shutter[0][2] for shutter in shutters)
    return [(SHAPE, "CS", names), *(part for shutter in shutters for part in shutter[1:])]


Y, X = np.mgrid[1:49, 1:41]  # rows and columns count from 1 (PS3.3 C.7.6.11)
BOX = (Y >= 5) & (Y <= 30) & (X >= 10) & (X <= 33)
DISC = (Y - 20) ** 2 + (X - 22) ** 2 <= 15**2
TRIANGLE = (Y >= 4) & (X >= 6) & (Y + X <= 40)
SHUTTERS = [
    (rectangle(5, 30, 10, 33), BOX),
    (rectangle(5, 30, -7, 400), (Y >= 5) & (Y <= 30)),
    (circle(20, 22, 15), DISC),
    (polygon((4, 6), (4, 36), (34, 6)), TRIANGLE),
    (joined(rectangle(5, 30, 10, 33), circle(20, 22, 15)), BOX & DISC),
    (joined(circle(20, 22, 15), polygon((4, 6), (4, 36), (34, 6))), DISC & TRIANGLE),
]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(("shutter", "visible"), SHUTTERS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_the_display_shutter_covers_is_black_in_either_polarity(
    shutter, visible, photometric, syntax
):
    radiograph = read(drawn([*shutter, (0x00280004, "CS", photometric)], syntax=syntax))
    shown = PLAIN if photometric == "MONOCHROME2" else 255 - PLAIN
    assert np.array_equal(radiograph.pixels, np.where(visible, shown, 0))
    assert radiograph.notes == ("display shutter of the file: what it covers is black",)


@pytest.mark.parametrize(("shutter", "visible"), SHUTTERS)
def test_what_the_shutter_covers_does_not_count_for_the_percentiles(shutter, visible):
    stored = np.where(visible, STORED // 4 + 1000, 4095).astype(np.uint16)
    no_window = [(0x00281050, None), (0x00281051, None)]
    radiograph = read(drawn([*shutter, *no_window], stored))
    ordered = np.sort(stored[visible])
    low, high = (
        int(ordered[math.ceil(Fraction(share, 200) * len(ordered)) - 1]) for share in (1, 199)
    )
    expected = [
        min(max(round(Fraction(255 * (int(value) - low), high - low)), 0), 255)
        for value in stored.ravel()
    ]
    assert np.array_equal(
        radiograph.pixels, np.where(visible, np.reshape(expected, stored.shape), 0)
    )


def test_a_circle_is_round_in_millimetres():
    """Its radius counts columns; rows twice as far apart make it half as many rows high."""
    radiograph = read(drawn([*circle(20, 22, 15), (IMAGER, "DS", "0.4\\0.2")]))
    seen = read(drawn([*circle(20, 22, 15)])).pixels
    visible = (2 * (Y - 20)) ** 2 + (X - 22) ** 2 <= 15**2
    assert radiograph.pixels.shape == (96, 40)
    flat = np.array([linear(column, 96) for column in np.where(visible, PLAIN, 0).T]).T
    assert np.abs(radiograph.pixels - flat).max() <= 1
    assert seen.shape == (48, 40)


@pytest.mark.parametrize("shutter", [rectangle(1, 48, 1, 40), rectangle(-5, 999, 0, 41)])
def test_a_shutter_that_covers_nothing_changes_nothing(shutter):
    radiograph = read(drawn(shutter))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ()


@pytest.mark.parametrize(
    ("shutter", "reason"),
    [
        (rectangle(30, 5, 10, 33), "it covers the image"),
        (rectangle(100, 200, 100, 200), "it covers the image"),
        (rectangle(5, 5, 10, 12), "it covers the image"),
        (circle(900, 900, 5), "it covers the image"),
        (circle(20, 22, 0), "a shape of it is malformed"),
        (polygon((4, 6), (4, 36)), "a shape of it is malformed"),
        ([(SHAPE, "CS", "POLYGONAL"), (0x00181620, "IS", "1\\2\\3\\4\\5\\6\\7")], "a shape of it"),
        ([(SHAPE, "CS", "CIRCULAR"), (0x00181610, "IS", "20\\22")], "a shape of it is malformed"),
        (rectangle("top", 30, 10, 33), "a shape of it is malformed"),
        ([(SHAPE, "CS", "BITMAP")], "a shape of it is not read"),
    ],
)
def test_a_malformed_or_absurd_shutter_is_left_out_with_a_note(shutter, reason):
    radiograph = read(drawn(shutter))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes[-1].startswith(f"ShutterShape left out: {reason}")


@pytest.mark.parametrize("changes", [[], [(0x00281050, None), (0x00281051, None)]])
def test_a_shutter_around_a_blank_part_is_left_out_with_a_note(changes):
    stored = STORED.copy()
    stored[4:30, 9:33] = 0
    radiograph = read(drawn([*rectangle(5, 30, 10, 33), *changes], stored))
    assert np.array_equal(radiograph.pixels, read(drawn(changes, stored)).pixels)
    assert radiograph.notes[-1] == "ShutterShape left out: it shows nothing"


@pytest.mark.parametrize("modality", ["DR", "RF", "RG", "DX", "CR", "dr ", " RF"])
def test_a_plain_grey_image_of_projection_radiography_is_read(modality):
    radiograph = read(drawn([(0x00080060, "CS", modality)]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    is_fluoroscopy = modality.strip() == "RF"
    assert [note.startswith("modality RF") for note in radiograph.notes] == [True] * is_fluoroscopy


@pytest.mark.parametrize("modality", ["IO", "PX", "XA", "OT", "SC", "MG", "CT", "US"])
def test_other_modalities_stay_refused(modality):
    message = f"^wrong modality {modality}: expected CR, DX, DR, RG or RF$"
    with pytest.raises(InputError, match=message):
        read_image(drawn([(0x00080060, "CS", modality)]))


@pytest.mark.parametrize(
    "change",
    [
        (0x00080068, "CS", "FOR PROCESSING"),
        (0x00080068, "CS", "for processing"),
        (0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.1.1.1"),
        (0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.1.3.1"),
    ],
)
def test_detector_data_for_processing_has_a_reason_to_refer(change):
    radiograph = read(drawn([change]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    fact = "detector data for processing, not meant for display"
    assert radiograph.notes == (fact,)
    assert radiograph.refer_reasons == (f"{fact}; send the image that the unit displays",)
    assert [reason.id for reason in radiograph.refer_reason_ids] == ["for_processing"]


@pytest.mark.parametrize(
    "change",
    [
        (0x00080068, "CS", "FOR PRESENTATION"),
        (0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.1.1"),
        (0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.1"),
    ],
)
def test_data_for_presentation_has_none(change):
    radiograph = read(drawn([change]))
    assert (radiograph.notes, radiograph.refer_reasons) == ((), ())
