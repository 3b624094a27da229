"""The values before the conversion to 8 bits are those of the file, bone bright."""

import numpy as np
import pytest

from orthoedge.runtime import read_image
from tests.helpers.clinic.images import image_file, limb
from tests.helpers.image_files.png_bmp import png

PHOTOMETRIC, SHAPE, STORED, SIGNED = 0x00280004, 0x20500020, 0x7FE00010, 0x00280103
CENTER, WIDTH, FUNCTION, SLOPE = 0x00281050, 0x00281051, 0x00281056, 0x00281053


def shown(stored):
    """The samples through the stated window, as 8 bits."""
    black, white = stored.window
    return np.clip((stored.samples - black) * 255 / (white - black), 0, 255)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {CENTER: ("DS", "1800"), WIDTH: ("DS", "2500")},
        {CENTER: ("DS", "1800"), WIDTH: ("DS", "2500"), FUNCTION: ("CS", "LINEAR_EXACT")},
        {PHOTOMETRIC: ("CS", "MONOCHROME1"), STORED: ("OW", (4095 - limb()).tobytes())},
        {SHAPE: ("CS", "INVERSE"), STORED: ("OW", (4095 - limb()).tobytes())},
        {SLOPE: ("DS", "2.5"), 0x00281052: ("DS", "-100")},
    ],
)
def test_through_their_window_they_are_the_8_bit_pixels(changes):
    file = image_file(changes)
    radiograph = read_image(file, keep_stored=True)
    assert np.array_equal(radiograph.stored.samples, limb())
    assert radiograph.stored.bits == 12
    assert np.abs(shown(radiograph.stored) - radiograph.pixels).max() <= 1  # of rounding


def test_signed_values_begin_at_0():
    changes = {SIGNED: ("US", b"\1\0"), STORED: ("OW", (limb().astype(np.int16) - 2048).tobytes())}
    stored = read_image(image_file(changes), keep_stored=True).stored
    assert np.array_equal(stored.samples, limb())


def test_a_sigmoid_has_the_line_through_its_middle():
    changes = {CENTER: ("DS", "1800"), WIDTH: ("DS", "2500"), FUNCTION: ("CS", "SIGMOID")}
    radiograph = read_image(image_file(changes), keep_stored=True)
    low, high = radiograph.stored.window
    assert (low + high) / 2 == pytest.approx(1800, abs=5)
    assert np.abs(shown(radiograph.stored) - radiograph.pixels).max() < 30


def test_a_window_that_is_a_step_keeps_its_place():
    changes = {CENTER: ("DS", "1800"), WIDTH: ("DS", "1")}
    radiograph = read_image(image_file(changes), keep_stored=True)
    assert np.array_equal(shown(radiograph.stored) > 127, radiograph.pixels > 127)


def test_a_picture_of_16_bits_keeps_them_and_one_of_8_has_no_others():
    deep = read_image(png(limb()[..., None] * 16, 16, 0), keep_stored=True)
    assert np.array_equal(deep.stored.samples, limb() * 16)
    assert np.abs(shown(deep.stored) - deep.pixels).max() <= 1
    flat = read_image(png((limb()[..., None] >> 4).astype(np.uint8), 8, 0), keep_stored=True)
    assert flat.stored is None


def test_they_are_kept_only_where_they_are_asked_for():
    assert read_image(image_file()).stored is None
