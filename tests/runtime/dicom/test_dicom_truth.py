"""DICOM pixels against an independent calculation; `make robustness` does the whole matrix."""

import io

import numpy as np
import pytest

pytest.importorskip("pydicom")

from orthoedge.runtime.dicom.reader import read_dicom
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.dicom_bytes import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    SYNTAXES,
    Sequence,
    element,
    file_bytes,
)
from tests.helpers.hostile.dicom_truth import (
    COLUMNS,
    ROWS,
    Case,
    build,
    elements_of,
    expected,
    matrix,
)
from tests.helpers.hostile.dicom_twins import COMPRESSED, recode

STEP = 61  # no multiple of any axis, so every value of each comes up


def assert_exact(data, case):
    wanted = np.array(expected(case)).reshape(ROWS, COLUMNS)
    assert np.array_equal(read_image(data).pixels, wanted), case
    assert np.array_equal(read_dicom(io.BytesIO(data)).pixels, wanted), case


def test_the_polarity_matrix_gives_exact_pixels():
    for case in matrix()[::STEP]:
        assert_exact(build(case), case)


@pytest.mark.parametrize("modality", ["rising", "falling"])
def test_a_table_in_implicit_vr_begins_below_zero_where_its_input_may(modality):
    """pydicom reads the descriptor by the stored samples' sign, the standard by its input's."""
    case = Case("MONOCHROME2", None, modality, "table", 12, False, IMPLICIT)
    assert_exact(build(case), case)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_signed_descriptor_counts_more_entries_than_a_signed_number_can(syntax):
    case = Case("MONOCHROME2", None, "table", "table", 16, True, syntax)
    assert_exact(build(case), case)


def test_a_table_of_eight_bits_lies_in_words_of_the_files_byte_order():
    case = Case("MONOCHROME2", None, "table", "table", 8, False, BIG)
    assert_exact(build(case), case)


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_reversible_twin_decodes_to_the_same_pixels(name, tmp_path):
    pytest.importorskip("gdcm")
    for bits, signed in ((8, True), (10, False), (15, True), (16, False)):
        case = Case("MONOCHROME1", None, "falling", "LINEAR", bits, signed)
        data = recode(build(case), name, tmp_path)
        assert COMPRESSED[name].encode() in data[:400]
        assert_exact(data, case)


PLAIN = Case("MONOCHROME1", "INVERSE", "rising", "LINEAR_EXACT", 12, False)
# Modality, high bit, presentation LUT shape: none of them changes a pixel of this image.
OPTIONAL = (0x00080060, 0x00280102, 0x20500020)
PRIVATE = [
    (0x00090010, "LO", "SOMEBODY"),
    (0x00091001, "UN", bytes(range(256))),
    (0x00091002, "SQ", Sequence([[(0x00280004, "CS", "MONOCHROME2")], []])),
    (0x7FE10010, "LO", "SOMEBODY"),
    (0x7FE11001, "OB", element(0x7FE00010, "OW", bytes(64))),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("absent", OPTIONAL, ids=hex)
def test_a_missing_optional_element_changes_nothing(syntax, absent):
    case = Case(*list(vars(PLAIN).values())[:-1], syntax)
    kept = [one for one in elements_of(case) if one[0] != absent]
    assert len(kept) == len(elements_of(case)) - 1
    assert_exact(file_bytes(kept, syntax), case)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_private_elements_change_nothing(syntax):
    case = Case(*list(vars(PLAIN).values())[:-1], syntax)
    assert_exact(file_bytes(elements_of(case) + PRIVATE, syntax), case)


def test_what_a_group_length_says_does_not_count():
    retired = [(0x00080000, "UL", [7]), (0x00280000, "UL", [10**6])]
    assert_exact(file_bytes(elements_of(PLAIN) + retired, EXPLICIT), PLAIN)


@pytest.mark.parametrize("off", [-2, -1, 1, 2, 8, 1000])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_wrong_length_is_refused_or_changes_nothing(syntax, off):
    case = Case(*list(vars(PLAIN).values())[:-1], syntax)
    wanted = np.array(expected(case)).reshape(ROWS, COLUMNS)
    refused = 0
    for wrong in elements_of(case):
        head = 12 if syntax != IMPLICIT and wrong[1] == "OW" else 8
        length = len(element(*wrong, syntax)) - head + off
        others = [one for one in elements_of(case) if one[0] != wrong[0]]
        data = file_bytes([*others, (*wrong, max(0, length))], syntax)
        try:
            pixels = read_image(data).pixels
        except InputError:
            refused += 1
            continue
        assert np.array_equal(pixels, wanted), hex(wrong[0])
    assert refused >= len(elements_of(case)) - 1  # pixel data may be said to be longer than it is
