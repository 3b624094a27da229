"""Bits of look-up tables, padding and high bits, with pixels calculated in exact fractions."""

import itertools
import math
import shutil
import struct
import subprocess
from fractions import Fraction

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless  # noqa: E402

from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from tests.helpers.hostile.dicom_bytes import BIG, EXPLICIT, IMPLICIT, Sequence, words  # noqa: E402
from tests.helpers.hostile.dicom_twins import recode  # noqa: E402
from tests.runtime.dicom.drawn import PLAIN, STORED, drawn, read  # noqa: E402

NO_WINDOW = [(0x00281050, None), (0x00281051, None)]
SYNTAXES = [EXPLICIT, IMPLICIT, BIG]


def table_of(entries, depth, syntax=EXPLICIT, first=0):
    data = words([int(entry) for entry in entries], 16, syntax)
    descriptor = (0x00283002, "US", [len(entries) % 2**16, first, depth])
    return (0x00283010, "SQ", Sequence([[descriptor, (0x00283006, "OW", data)]]))


def in_order(stored, syntax):
    """Pixels as a file of this byte order has them."""
    return (0x7FE00010, "OW", stored.astype(">u2" if syntax == BIG else "<u2").tobytes())


def grey(values, low, high):
    """Grey levels 0 to 255 of integers between two others, each rounded half to even."""
    levels = {
        value: min(max(round(Fraction(255 * (value - low), high - low)), 0), 255)
        for value in {int(value) for value in values.ravel()}
    }
    return np.vectorize(levels.get)(values.astype(int))


def percentiles(values):
    """The smallest values with 0.5 % and 99.5 % of all at or below."""
    ordered = sorted(int(value) for value in values)
    return [ordered[math.ceil(Fraction(share, 200) * len(ordered)) - 1] for share in (1, 199)]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("used", [9, 10, 12, 14, 15])
def test_a_table_that_states_the_size_of_storage_is_scaled_by_the_bits_in_use(used, syntax):
    entries = (np.linspace(0, 1, 4096) ** 0.7 * (2**used - 1)).astype(int)
    data = drawn(
        [*NO_WINDOW, table_of(entries, 16, syntax), in_order(STORED, syntax)], STORED, syntax
    )
    radiograph = read(data)
    assert np.array_equal(radiograph.pixels, grey(entries[STORED], 0, 2**used - 1))
    assert radiograph.notes == (
        f"VOI LUT states 16 bits and its entries have {used}: scaled by {used} bits",
    )


def test_no_table_is_scaled_by_less_than_eight_bits():
    """dcm4che, whose rule it is, looks at the high byte of the entries alone."""
    entries = np.arange(4096) // 64
    radiograph = read(drawn([*NO_WINDOW, table_of(entries, 16)]))
    assert np.array_equal(radiograph.pixels, grey(entries[STORED], 0, 255))
    assert radiograph.notes == ("VOI LUT states 16 bits and its entries have 6: scaled by 8 bits",)


@pytest.mark.parametrize("top", [32768, 40000, 65535])
def test_a_table_that_is_dark_but_uses_the_highest_bit_is_not_scaled(top):
    entries = np.linspace(0, top, 4096).astype(int)
    radiograph = read(drawn([*NO_WINDOW, table_of(entries, 16)]))
    assert np.array_equal(radiograph.pixels, grey(entries[STORED], 0, 65535))
    assert radiograph.notes == ()


@pytest.mark.parametrize(("depth", "used"), [(12, 10), (10, 9), (14, 12)])
def test_a_dark_table_of_another_depth_is_left_as_stated_with_a_note(depth, used):
    entries = np.linspace(0, 2**used - 1, 4096).astype(int)
    radiograph = read(drawn([*NO_WINDOW, table_of(entries, depth)]))
    assert np.array_equal(radiograph.pixels, grey(entries[STORED], 0, 2**depth - 1))
    assert radiograph.notes == (
        f"VOI LUT states {depth} bits and its entries have {used}: scaled by {depth} bits",
    )


@pytest.mark.parametrize(("depth", "used"), [(8, 12), (10, 12), (12, 16)])
def test_a_table_with_more_bits_than_stated_is_scaled_by_those_with_a_note(depth, used):
    entries = np.linspace(0, 2**used - 1, 4096).astype(int)
    radiograph = read(drawn([*NO_WINDOW, table_of(entries, depth)]))
    assert np.array_equal(radiograph.pixels, grey(entries[STORED], 0, 2**used - 1))
    assert radiograph.notes == (
        f"VOI LUT states {depth} bits and its entries have {used}: scaled by {used} bits",
    )


def test_the_depth_of_a_modality_table_does_not_scale_its_output():
    """The window that follows is in the units of the entries (PS3.3 C.11.1.1)."""
    entries = np.arange(4096)[::-1]
    lut = (0x00283000, *table_of(entries, 16)[1:])
    radiograph = read(drawn([lut]))
    assert np.array_equal(radiograph.pixels, grey(4095 - STORED.astype(int), 0, 4095))
    assert radiograph.notes == ()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("value", "limit"), [(0, None), (0, 200), (200, 0), (4095, 3900), (3900, 4095), (4095, None)]
)
def test_no_padding_leaks_into_the_percentiles(value, limit, syntax):
    changes = [*NO_WINDOW, (0x00280120, "US", [value])]
    if limit is not None:
        changes.append((0x00280121, "US", [limit]))
    low, high = sorted((value, value if limit is None else limit))
    padded = STORED.copy()
    padded[:12] = np.linspace(low, high, 12 * 40).reshape(12, 40).astype(np.uint16)
    inside = padded[(padded < low) | (padded > high)]
    radiograph = read(drawn([*changes, in_order(padded, syntax)], padded, syntax))
    assert np.array_equal(radiograph.pixels, grey(padded, *percentiles(inside)))


def test_a_padding_range_below_zero_is_that_of_signed_samples():
    stored = STORED.astype(int) - 2048
    stored[:12] = np.linspace(-2048, -1500, 480).reshape(12, 40).astype(int)
    inside = stored[stored > -1500]
    for vr, ends in (("SS", (-2048, -1500)), ("US", (63488, 64036))):
        changes = [(0x00280103, "US", [1]), (0x00280120, vr, ends[:1]), (0x00280121, vr, ends[1:])]
        samples = stored.astype("<i2").view("<u2")
        radiograph = read(drawn([*NO_WINDOW, *changes], samples))
        assert np.array_equal(radiograph.pixels, grey(stored, *percentiles(inside)))


def test_padding_of_all_ones_is_found_in_samples_whose_upper_bits_do_not_count():
    padded = STORED.copy()
    padded[:20] = 0xFFFF
    inside = padded[20:][padded[20:] < 4095]
    radiograph = read(drawn([*NO_WINDOW, (0x00280120, "US", [0xFFFF])], padded))
    assert np.array_equal(radiograph.pixels, grey(padded & 0xFFF, *percentiles(inside)))


def test_a_padding_range_over_all_values_is_left_out_with_a_note():
    changes = [(0x00280120, "US", [0]), (0x00280121, "US", [4095])]
    radiograph = read(drawn([*NO_WINDOW, *changes]))
    assert np.array_equal(radiograph.pixels, grey(STORED, *percentiles(STORED.ravel())))
    assert radiograph.notes[1:] == ("PixelPaddingValue left out: it covers the image",)


def test_a_limit_that_is_malformed_leaves_the_value_alone():
    radiograph = read(drawn([*NO_WINDOW, (0x00280120, "US", [0]), (0x00280121, "US", [5000])]))
    assert np.array_equal(radiograph.pixels, grey(STORED, *percentiles(STORED[STORED > 0])))
    assert radiograph.notes[1:] == ("PixelPaddingRangeLimit left out: not a possible value",)


@pytest.mark.parametrize(
    ("high", "below", "syntax"), list(itertools.product([12, 13, 15], [False, True], SYNTAXES))
)
def test_samples_up_to_a_high_bit_are_shifted_down(high, below, syntax):
    """PS3.5 8.1.1: the stored value lies in the bits that end at HighBit."""
    shift = high - 11
    raised = (STORED << shift).astype(np.uint16)
    if below:  # an old overlay in the bits below, and one in those above
        raised |= (1 << shift) - 1
        raised |= np.uint16((0xFFFF << (high + 1)) & 0xFFFF)
    radiograph = read(drawn([(0x00280102, "US", [high]), in_order(raised, syntax)], raised, syntax))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert (radiograph.source_bits, radiograph.notes) == (12, ())


def test_signed_samples_up_to_a_high_bit_keep_their_sign():
    signed = STORED.astype(int) - 2048
    raised = (signed << 4).astype("<i2").view("<u2")
    changes = [(0x00280102, "US", [15]), (0x00280103, "US", [1]), (0x00281050, "DS", "0")]
    assert np.array_equal(read(drawn(changes, raised)).pixels, PLAIN)


def test_six_bits_at_the_top_of_a_byte_are_shifted_down():
    small = (STORED >> 6).astype(np.uint8)
    changes = [(0x00280100, "US", [8]), (0x00280101, "US", [6]), (0x00280102, "US", [7])]
    changes += [(0x00281050, "DS", "32"), (0x00281051, "DS", "64")]
    data = drawn([*changes, (0x7FE00010, "OB", (small << 2).astype(np.uint8).tobytes())])
    assert np.array_equal(read(data).pixels, grey(small, 0, 63))


def test_percentiles_of_samples_up_to_a_high_bit_are_those_of_the_stored_values():
    raised = ((STORED << 4) | 9).astype(np.uint16)
    radiograph = read(drawn([*NO_WINDOW, (0x00280102, "US", [15])], raised))
    assert np.array_equal(radiograph.pixels, grey(STORED, *percentiles(STORED.ravel())))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("precision", [12, 16])
def test_compressed_samples_with_a_high_bit_are_read(syntax, precision, tmp_path):
    """A codestream of 16 bits holds whole samples, one of 12 the stored values alone."""
    if precision == 12 and syntax == RLELossless:
        pytest.skip("RLE packs whole samples")
    raised = (STORED << (precision - 12)).astype(np.uint16)
    bits = [(0x00280101, "US", [precision]), (0x00280102, "US", [precision - 1])]
    (tmp_path / "a.dcm").write_bytes(drawn(bits, raised))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 15
    dataset.save_as(tmp_path / "b.dcm")
    assert np.array_equal(read_image(tmp_path / "b.dcm").pixels, PLAIN)


def test_a_lossless_jpeg_with_a_high_bit_is_read(tmp_path):
    pytest.importorskip("gdcm")
    raised = (STORED << 4).astype(np.uint16)
    bits = [(0x00280101, "US", [16]), (0x00280102, "US", [15])]
    data = recode(drawn(bits, raised), "JPEGLosslessProcess14_1", tmp_path)
    (tmp_path / "a.dcm").write_bytes(data)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.BitsStored, dataset.HighBit = 12, 15
    dataset.save_as(tmp_path / "b.dcm")
    assert np.array_equal(read_image(tmp_path / "b.dcm").pixels, PLAIN)


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize(
    "changes",
    [
        [(0x00280102, "US", [15])],
        [(0x00280102, "US", [15]), (0x00280004, "CS", "MONOCHROME1")],
        [(0x00280102, "US", [15]), (0x00281053, "DS", "2"), (0x00281052, "DS", "-1000")],
    ],
)
def test_dcmtk_shows_the_same_pixels(changes, tmp_path):
    raised = (STORED << 4).astype(np.uint16)
    (tmp_path / "a.dcm").write_bytes(drawn(changes, raised))
    command = ["dcm2pnm", "--use-window", "1", "a.dcm", "a.pgm"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    shown = cv2.imread(str(tmp_path / "a.pgm"), cv2.IMREAD_UNCHANGED)
    pixels = read_image(tmp_path / "a.dcm").pixels
    assert np.abs(shown.astype(int) - pixels).max() <= 1  # dcmtk truncates where we round


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize(("depth", "top"), [(12, 4095), (12, 1023), (16, 65535), (16, 40000)])
def test_dcmtk_shows_a_table_that_is_as_stated_the_same(depth, top, tmp_path):
    entries = (np.linspace(0, 1, 4096) ** 0.5 * top).astype(int)
    (tmp_path / "a.dcm").write_bytes(drawn([*NO_WINDOW, table_of(entries, depth)]))
    command = ["dcm2pnm", "--use-voi-lut", "1", "a.dcm", "a.pgm"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    shown = cv2.imread(str(tmp_path / "a.pgm"), cv2.IMREAD_UNCHANGED)
    pixels = read_image(tmp_path / "a.dcm").pixels
    assert np.abs(shown.astype(int) - pixels).max() <= 1  # dcmtk truncates where we round


@pytest.mark.parametrize(("vr", "first"), [("SS", 40000), ("US", 40000), ("US", 65531)])
def test_the_sign_of_the_first_entry_is_the_one_under_which_the_table_is_reached(vr, first):
    """The VR of a descriptor is often not that of the samples."""
    entries = np.arange(4096)[::-1]
    start, limit = (first, 16) if first == 40000 else (first - 2**16, 12)
    stored = STORED if limit == 12 else (STORED.astype(int) + 40000).astype(np.uint16)
    data = words([int(entry) for entry in entries], 16, EXPLICIT)
    descriptor = (0x00283002, vr, struct.pack("<HHH", 4096, first, 12))
    table = (0x00283010, "SQ", Sequence([[descriptor, (0x00283006, "OW", data)]]))
    layout = [(0x00280101, "US", [limit]), (0x00280102, "US", [limit - 1])]
    radiograph = read(drawn([*NO_WINDOW, *layout, table], stored))
    index = np.clip(stored.astype(int) - start, 0, 4095)
    assert np.array_equal(radiograph.pixels, grey(entries[index], 0, 4095))
    assert radiograph.notes == ()
