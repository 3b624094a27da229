"""An optional element that is malformed is left out with a note; it never costs the image."""

import random

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.datadict import tag_for_keyword  # noqa: E402
from pydicom.dataelem import RawDataElement  # noqa: E402
from pydicom.tag import Tag  # noqa: E402
from pydicom.uid import JPEGLSLossless, RLELossless  # noqa: E402

from orthoedge.runtime.dicom import reader  # noqa: E402
from orthoedge.runtime.errors import InputError  # noqa: E402
from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from tests.helpers.hostile.dicom_bytes import EXPLICIT, IMPLICIT, Sequence  # noqa: E402
from tests.runtime.dicom.drawn import PLAIN, drawn, read  # noqa: E402

LUT = (0x00283006, "OW", np.arange(4096, dtype="<u2").tobytes())
DESCRIPTOR = (0x00283002, "US", [4096, 0, 12])
VOI, MODALITY = 0x00283010, 0x00283000

# Each is left out as if it were absent: the same pixels, no spacing, a note with its name.
LEFT_OUT = {
    "PixelSpacing": [
        (0x00280030, "DS", "0.2"),
        (0x00280030, "DS", "\\"),
        (0x00280030, "DS", "0.2\\"),
        (0x00280030, "DS", "0.2\\0.2\\0.2"),
        (0x00280030, "DS", "wide\\0.2"),
        (0x00280030, "DS", "NaN\\NaN"),
        (0x00280030, "DS", "inf\\inf"),
        (0x00280030, "DS", "1_0\\1_0"),
        (0x00280030, "DS", "0\\0"),
        (0x00280030, "DS", "-0.2\\0.2"),
        (0x00280030, "DS", "1e300\\1e300"),
        (0x00280030, "DS", "1e999\\1e999"),
        (0x00280030, "DS", "0.01\\90"),
        (0x00280030, "DS", b"\xff\xfe\\\xfd "),
        (0x00280030, "SQ", Sequence([[DESCRIPTOR]])),
        (0x00280030, "US", b"0.2\\0.2 "),
    ],
    "ImagerPixelSpacing": [(0x00181164, "DS", "0.2"), (0x00181164, "DS", "a\\b")],
    "NominalScannedPixelSpacing": [(0x00182010, "DS", "0.1\\x")],
    "PixelSpacingCalibrationType": [(0x00280A02, "CS", "RULER")],
    "EstimatedRadiographicMagnificationFactor": [
        (0x00181114, "DS", "big"),
        (0x00181114, "DS", "0"),
        (0x00181114, "DS", "700"),
    ],
    "PixelAspectRatio": [
        (0x00280034, "IS", "0\\0"),
        (0x00280034, "IS", "1"),
        (0x00280034, "IS", "x\\1"),
        (0x00280034, "IS", "1\\3000"),
    ],
    "RescaleSlope": [
        (0x00281053, "DS", "0"),
        (0x00281053, "DS", "one"),
        (0x00281053, "DS", "NaN"),
        (0x00281053, "DS", "1e-300"),
        (0x00281053, "DS", "1e300"),
    ],
    "RescaleIntercept": [(0x00281052, "DS", "zero"), (0x00281052, "DS", "-1e99")],
    "VOILUTFunction": [(0x00281056, "CS", "CUBIC"), (0x00281056, "CS", b"\xff\xff")],
    "VOILUTSequence": [
        (VOI, "SQ", Sequence([])),
        (VOI, "SQ", Sequence([[]])),
        (VOI, "SQ", Sequence([[DESCRIPTOR]])),
        (VOI, "SQ", Sequence([[LUT]])),
        (VOI, "SQ", Sequence([[(0x00283002, "US", [4096, 0]), LUT]])),
        (VOI, "SQ", Sequence([[(0x00283002, "US", []), LUT]])),
        (VOI, "SQ", Sequence([[(0x00283002, "US", [4096, 0, 0]), LUT]])),
        (VOI, "SQ", Sequence([[(0x00283002, "US", [4096, 0, 99]), LUT]])),
        (VOI, "SQ", Sequence([[DESCRIPTOR, (0x00283006, "OW", bytes(8000))]])),
        (VOI, "SQ", Sequence([[DESCRIPTOR, (0x00283006, "OW", bytes(range(256)) * 16)]])),
        (VOI, "SQ", Sequence([[DESCRIPTOR, (0x00283006, "OW", b"")]])),
        (VOI, "SQ", b"\0\1\2\3\4\5\6\7\x08\x09"),
        (VOI, "LO", "a table"),
    ],
    "ModalityLUTSequence": [
        (MODALITY, "SQ", Sequence([])),
        (MODALITY, "SQ", Sequence([[DESCRIPTOR, (0x00283006, "OW", bytes(100))]])),
        (MODALITY, "SQ", Sequence([[DESCRIPTOR, (0x00283006, "OW", bytes(8192))]])),
        (MODALITY, "SQ", Sequence([[(0x00283002, "US", [10, 5000, 12]), LUT]])),
    ],
    "PixelPaddingValue": [
        (0x00280120, "DS", "none"),
        (0x00280120, "US", b"\1\2\3"),
        (0x00280120, "UL", [70000]),
        (0x00280120, "US", [5000]),  # bits above the 12 that are stored, not all of them set
    ],
    "NumberOfFrames": [
        (0x00280008, "IS", "one"),
        (0x00280008, "IS", "0"),
        (0x00280008, "IS", "-2"),
        (0x00280008, "IS", "1.5"),
    ],
    "HighBit": [(0x00280102, "US", [5]), (0x00280102, "US", [16]), (0x00280102, "US", [11, 0])],
    "PresentationLUTShape": [(0x20500020, "CS", "SQUARE")],
    "BurnedInAnnotation": [(0x00280301, "CS", b"\xff\xfe")],
    "PresentationIntentType": [(0x00080068, "CS", "FOR FUN")],
    "ShutterShape": [
        (0x00181600, "CS", "OVAL"),
        (0x00181600, "CS", "BITMAP"),
        (0x00181600, "CS", "RECTANGULAR"),
        (0x00181600, "CS", "CIRCULAR"),
        (0x00181600, "CS", "POLYGONAL"),
        (0x00181600, "US", b"\1\2\3"),
    ],
}
OF_EXPLICIT_VR = (
    *((0x00280030, "US"), (0x00280120, "DS"), (0x00280120, "UL")),
    *((0x00181600, "US"), (VOI, "LO"), (0x00280030, "SQ")),
)
# Without these there are no pixels, or it is another kind of image.
REQUIRED = (
    *(0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103),
    *(0x7FE00010, 0x00080060, 0x00280008),
)
VRS = ("CS", "DS", "IS", "US", "SS", "UL", "FD", "LO", "UN", "OW", "SQ", "UT", "PN")
CASES = [(name, change) for name, changes in LEFT_OUT.items() for change in changes]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_malformed_optional_element_is_left_out_with_a_note(name, change, syntax):
    if syntax == IMPLICIT and change[:2] in OF_EXPLICIT_VR:
        pytest.skip("implicit VR does not state the wrong one")
    radiograph = read(drawn([change], syntax=syntax))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.spacing_mm is None
    (note,) = radiograph.notes
    assert note.startswith(f"{name} left out: ")


@pytest.mark.parametrize(
    "change",
    [
        (0x00281050, "DS", "half"),
        (0x00281050, "DS", "\\2048"),
        (0x00281051, "DS", "0"),
        (0x00281051, "DS", "-5"),
        (0x00281051, "DS", "NaN"),
        (0x00281051, "DS", "0.5"),  # LINEAR needs at least 1
        (0x00281051, "DS", "1e300"),
    ],
)
def test_a_malformed_window_is_replaced_by_percentiles(change):
    radiograph = read(drawn([change]))
    without = read(drawn([(0x00281050, None), (0x00281051, None)]))
    assert np.array_equal(radiograph.pixels, without.pixels)
    window, note = radiograph.notes
    assert window == without.notes[0]
    assert note.startswith(f"{'WindowCenter' if change[0] == 0x281050 else 'WindowWidth'} left out")


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_decimal_comma_is_read_as_a_point_with_a_note(syntax):
    changes = [
        (0x00181164, "DS", "0,143\\,143"),
        (0x00281050, "DS", "2048,0"),
        (0x00281051, "DS", "4096,00"),
        (0x00281052, "DS", "0,0"),
        (0x00281053, "DS", "1,0e0 "),
    ]
    radiograph = read(drawn(changes, syntax=syntax))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.spacing_mm == (0.143, 0.143)
    assert len(radiograph.notes) == 5
    assert all("comma, which was read as a decimal point" in note for note in radiograph.notes)


def test_a_comma_does_not_change_what_the_number_does():
    with_point = read(drawn([(0x00281053, "DS", "0.5"), (0x00281052, "DS", "-10.25")]))
    with_comma = read(drawn([(0x00281053, "DS", "0,5"), (0x00281052, "DS", "-10,25")]))
    assert np.array_equal(with_comma.pixels, with_point.pixels)


def test_of_several_values_where_one_belongs_the_first_is_used_with_a_note():
    expected = read(drawn([(0x00281053, "DS", "0.5")])).pixels
    radiograph = read(drawn([(0x00281053, "DS", "0.5\\2")]))
    assert np.array_equal(radiograph.pixels, expected)
    assert radiograph.notes == ("RescaleSlope has several values: the first was used",)


@pytest.mark.parametrize(
    "change",
    [
        (0x00280030, "FD", np.array([0.2, 0.2]).tobytes()),
        (0x00280030, "UN", b"0.2\\0.2 "),
        (0x00280030, "LO", "0.2\\0.2"),
        (0x00280030, "DS", "  0.2 \\ +2.E-1\0"),
    ],
)
def test_a_value_in_a_wrong_vr_or_odd_spelling_that_is_clear_is_read(change):
    radiograph = read(drawn([change]))
    assert radiograph.spacing_mm == (0.2, 0.2)
    assert radiograph.notes == ()


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ((0x00280103, None), "PixelRepresentation is missing or malformed: taken as 0"),
        ((0x00280103, "US", []), "PixelRepresentation is missing or malformed: taken as 0"),
        ((0x00280103, "US", [7]), "PixelRepresentation is missing or malformed: taken as 0"),
        ((0x00280002, None), "SamplesPerPixel is missing or malformed: taken as 1"),
        ((0x00280002, "CS", "ONE"), "SamplesPerPixel is missing or malformed: taken as 1"),
        ((0x00280101, None), "BitsStored is missing or malformed: taken as 12"),
    ],
)
def test_a_missing_element_of_the_layout_with_one_meaning_is_completed(change, note):
    radiograph = read(drawn([change]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert note in radiograph.notes
    assert radiograph.source_bits == 12


@pytest.mark.parametrize(
    "change",
    [
        (0x00280004, "CS", "MONOCHROME2 "),
        (0x00280004, "CS", "monochrome2"),
        (0x00280004, "LO", "MONOCHROME2\0"),
        (0x00280010, "IS", "48"),
        (0x00280011, "UL", [40]),
        (0x00280101, "DS", "12.0"),
        (0x00080060, "CS", "dx"),
        (0x00281056, "CS", "linear"),
        (0x00280006, "LO", "neither"),  # PlanarConfiguration of a grey image
        (0x00280030, "DS", ""),
        (0x00280030, "DS", "  "),
    ],
)
def test_a_spelling_that_is_clear_is_read_without_a_note(change):
    radiograph = read(drawn([change]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0x00280010, None), "damaged DICOM: Rows is missing or malformed"),
        ((0x00280011, "US", []), "damaged DICOM: Columns is missing or malformed"),
        ((0x00280011, "US", [0]), "damaged DICOM: Columns is missing or malformed"),
        ((0x00280100, "LO", "many"), "damaged DICOM: BitsAllocated is missing or malformed"),
        ((0x00280101, "US", [12, 40]), "damaged DICOM: BitsStored has several values"),
        ((0x00280103, "US", [0, 0]), "damaged DICOM: PixelRepresentation has several values"),
        ((0x00280101, "US", [17]), "DICOM samples of 17 bits up to bit 16 in 16"),
        ((0x00280004, None), "damaged DICOM: PhotometricInterpretation is missing"),
        ((0x00280002, "US", [3]), "colour DICOM"),
        ((0x00280008, "IS", "2"), "multi-frame DICOM with 2 frames"),
    ],
)
def test_what_the_pixels_cannot_do_without_refuses_with_its_name(change, message):
    with pytest.raises(InputError, match=f"^{message}"):
        read_image(drawn([change]))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
@pytest.mark.parametrize(
    ("tag", "vr", "value", "note"),
    [
        (0x00280008, "IS", b"one ", "NumberOfFrames left out: not a number"),
        (0x00280030, "DS", b"0,2 ", "PixelSpacing left out: expected 2 values"),
        (0x00280103, "US", b"", "PixelRepresentation is missing or malformed: taken as 0"),
        (0x00280004, "CS", b"monochrome2 ", None),
        (0x00280102, "US", b"\1\0", "HighBit left out: not a possible value"),
        (0x00280006, "US", b"\7", None),
    ],
)
def test_a_malformed_element_costs_no_compressed_image(syntax, tag, vr, value, note, tmp_path):
    (tmp_path / "a.dcm").write_bytes(drawn())
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    dataset.save_as(tmp_path / "b.dcm")
    radiograph = read_image(tmp_path / "b.dcm")
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ((note,) if note else ())


def test_high_bit_and_sign_both_malformed_are_refused():
    """A length of HighBit that is too long hides PixelRepresentation."""
    data = drawn([(0x00280102, "US", [11, 40]), (0x00280103, None)])
    with pytest.raises(InputError, match=r"^damaged DICOM: HighBit and PixelRepresentation"):
        read_image(data)


def test_no_optional_element_of_any_vr_and_value_costs_the_image():
    rng = random.Random(0)
    keywords = (keyword for keyword in reader._WANTED if isinstance(keyword, str))
    tags = sorted({*map(tag_for_keyword, keywords)} - {*REQUIRED})
    values = [b"", b"\\", b"0 ", b"1 ", b"-1", b"1,5 ", b"NaN ", b"abc ", b"\xff\xfe", b"0.2\\0.3 "]
    values += [b"1\\2\\3\\4\\5\\6 ", b"RECTANGULAR\\CIRCULAR", bytes(4), b"\xff" * 8]
    for _ in range(400):
        chosen = rng.sample(tags, rng.randint(1, 5))
        changes = [(tag, rng.choice(VRS), rng.choice(values)) for tag in chosen]
        read_image(drawn(changes, syntax=rng.choice((EXPLICIT, IMPLICIT))))


def test_a_note_never_repeats_what_the_file_says():
    for _, change in CASES:
        notes = read(drawn([change])).notes
        if isinstance(change[2], str) and len(change[2]) > 3:
            assert not any(change[2].lower() in note.lower() for note in notes)
