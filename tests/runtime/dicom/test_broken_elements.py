"""An element whose header or items are broken costs neither the image nor the elements after it."""

import io
import random
import struct
from dataclasses import replace

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword  # noqa: E402

from orthoedge.runtime.dicom import encoding, reader  # noqa: E402
from orthoedge.runtime.dicom.elements import ELEMENTS  # noqa: E402
from orthoedge.runtime.dicom.reader import read_dicom  # noqa: E402
from orthoedge.runtime.errors import InputError  # noqa: E402
from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from tests.helpers.hostile.dicom_bytes import BIG, EXPLICIT, IMPLICIT, Sequence, element, encode  # noqa: E402
from tests.runtime.dicom.drawn import PLAIN, STORED, drawn, read  # noqa: E402

PLACE = b"a place "
LUT = [
    (0x00283002, "US", [4096, 0, 12]),
    (0x00283006, "OW", np.arange(4096, dtype="<u2").tobytes()),
]
VOI, REFERENCED = 0x00283010, 0x00081140
IN_EXPLICIT, IN_IMPLICIT = encode(LUT, EXPLICIT), encode(LUT, IMPLICIT)


def tag_bytes(tag):
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def with_element(tag, raw, syntax=EXPLICIT, changes=()):
    """The drawn file with the bytes of an element in the place of its tag."""
    data = drawn([*changes, (tag, "LO", PLACE)], syntax=syntax)
    placed = element(tag, "LO", PLACE, syntax)
    assert data.count(placed) == 1
    return data.replace(placed, raw)


def undefined(tag, items, vr=b"SQ", end=True):
    """A sequence of undefined length; in implicit VR for an empty `vr`."""
    head = tag_bytes(tag) + (vr + b"\0\0" if vr else b"") + b"\xff" * 4
    return head + items + b"\xfe\xff\xdd\xe0\0\0\0\0" * end


def item(content, length=None):
    if length is None:
        return b"\xfe\xff\0\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\xfe\xff\0\xe0" + struct.pack("<I", length) + content


BROKEN_ITEMS = {
    "a length beyond the item": item(b"\x28\0\x02\x30US\xff\0abc"),
    "no elements": item(b"garbagegarbage12"),
    "no items": b"garbage!",
    "an unknown VR": item(IN_EXPLICIT.replace(b"US", b"??", 1), len(IN_EXPLICIT)),
    "a length that is too long": item(IN_EXPLICIT, len(IN_EXPLICIT) + 6),
}


@pytest.mark.parametrize(
    ("tag", "name"),
    [(VOI, "VOILUTSequence"), (0x00283000, "ModalityLUTSequence"), (REFERENCED, "Referenced")],
)
@pytest.mark.parametrize("broken", BROKEN_ITEMS)
def test_a_sequence_of_undefined_length_with_broken_items_is_left_out(tag, name, broken):
    radiograph = read(with_element(tag, undefined(tag, BROKEN_ITEMS[broken])))
    assert np.array_equal(radiograph.pixels, PLAIN)
    for note in radiograph.notes:  # pydicom passes over some of this damage itself
        assert note.startswith(name)
        assert "left out: " in note


@pytest.mark.parametrize("tag", [VOI, REFERENCED, 0x00111010])
def test_a_sequence_without_its_end_is_left_out(tag):
    raw = undefined(tag, item(IN_EXPLICIT, len(IN_EXPLICIT)), end=False)
    radiograph = read(with_element(tag, raw))
    assert np.array_equal(radiograph.pixels, PLAIN)
    (note,) = radiograph.notes
    assert note.endswith("left out: it cannot be parsed")


def test_a_table_in_another_vr_than_its_file_is_read_or_left_out():
    raw = undefined(VOI, item(IN_EXPLICIT), b"")
    radiograph = read(with_element(VOI, raw, IMPLICIT))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("VOILUTSequence left out: it cannot be parsed",)
    raw = undefined(VOI, item(IN_IMPLICIT), b"UN")  # PS3.5 6.2.2
    assert read(with_element(VOI, raw)).notes == ()


@pytest.mark.parametrize("vr", [b"??", b"--", b"  ", b"\0\0", b"ox", b"O?"])
@pytest.mark.parametrize(
    ("tag", "name"), [(0x00200020, "PatientOrientation"), (0x00291010, "an element")]
)
def test_an_element_of_no_known_vr_is_left_out(vr, tag, name):
    radiograph = read(with_element(tag, tag_bytes(tag) + vr + b"\4\0abcd"))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes in ((f"{name} left out: it cannot be parsed",), ())


@pytest.mark.parametrize("vr", [b"OB", b"UT", b"UC", b"UR", b"OF"])
def test_a_length_of_two_bytes_where_four_belong_costs_that_element_alone(vr):
    raw = b"\x29\0\x10\x10" + vr + b"\4\0abcd"
    radiograph = read(with_element(0x00291010, raw))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("an element left out: it cannot be parsed",)


@pytest.mark.parametrize(
    ("tag", "raw", "name"),
    [
        (0x00200020, b"CS\4\0abcd", "PatientOrientation"),
        (0x00280030, b"DS\x08\x000.2\\0.2 ", "PixelSpacing"),
        (0x00290010, b"LO\4\0abcd\x29\0\x10\x10OB\0\0\4\0\0\0abcd", "an element"),
    ],
)
def test_elements_of_explicit_vr_among_implicit_ones_are_left_out(tag, raw, name):
    radiograph = read(with_element(tag, tag_bytes(tag) + raw, IMPLICIT))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.spacing_mm is None
    assert radiograph.notes == (f"{name} left out: it cannot be parsed",)


@pytest.mark.parametrize("vr", ["US", "FD", "OW"])
def test_a_character_set_of_a_wrong_vr_is_left_out(vr):
    radiograph = read(drawn([(0x00080005, vr, b"abc" if vr != "OW" else b"ISO_IR 100")]))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("SpecificCharacterSet left out: it cannot be parsed",)


def test_in_big_endian_as_well():
    data = drawn([(0x00291010, "LO", PLACE)], syntax=BIG)
    data = data.replace(STORED.astype("<u2").tobytes(), STORED.astype(">u2").tobytes())
    placed = element(0x00291010, "LO", PLACE, BIG)
    assert placed in data
    radiograph = read(data.replace(placed, b"\0\x29\x10\x10OB\0\4abcd"))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("an element left out: it cannot be parsed",)


@pytest.mark.parametrize("tag", [0x00280101, 0x00281050, 0x00280004])
def test_an_element_that_the_pixels_depend_on_is_not_left_out(tag):
    """Its length is wrong: it may hide others, and the picture would look well."""
    data = drawn()
    at = data.index(tag_bytes(tag)) + 6
    with pytest.raises(InputError):
        read_image(data[:at] + b"\xf1\xff" + data[at + 2 :])


@pytest.mark.parametrize("more", [1, 2, 4, 6, 8, 9])
def test_a_length_that_reaches_into_the_next_element_does_not_cost_that(more):
    length = struct.pack("<H", len(PLACE) + more)
    raw = element(0x00281049, "LO", PLACE)[:6] + length + PLACE  # the window follows
    radiograph = read(with_element(0x00281049, raw))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes == ("an element left out: it cannot be parsed",)


def test_a_file_cut_in_its_header_is_refused_wherever():
    data = drawn([(REFERENCED, "SQ", Sequence([LUT]))])
    for end in range(132, data.index(b"\xe0\x7f\x10\0"), 37):
        with pytest.raises(InputError):
            read_image(data[:end])


@pytest.mark.parametrize("vr", [b"OF", b"OL", b"OV", b"OD", b"UT", b"UC", b"SV", b"US"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_pixels_of_any_vr_with_a_long_length_are_read(vr, syntax):
    raw = STORED.astype("<u2").tobytes()
    start = b"\xe0\x7f\x10\0" + vr + b"\0\0" + struct.pack("<I", len(raw))
    data = drawn(syntax=syntax)
    data = data[: data.index(b"\xe0\x7f\x10\0")] + start + raw
    assert np.array_equal(read_image(data).pixels, PLAIN)
    assert np.array_equal(read_dicom(io.BytesIO(data)).pixels, PLAIN)


@pytest.mark.parametrize("vr", [b"??", b"--", b"OB"])
@pytest.mark.parametrize(
    "tags",
    [
        (0x00191010, 0x00291010),
        (0x00091010, 0x00191010, 0x00291010),
        (0x00191010, 0x00191011, 0x00200020, 0x00291010, 0x00291011),
    ],
)
def test_several_elements_are_left_out_with_the_layout_between_them(vr, tags):
    data = drawn([(tag, "LO", PLACE) for tag in tags])
    for tag in tags:
        data = data.replace(element(tag, "LO", PLACE), tag_bytes(tag) + vr + b"\4\0abcd")
    radiograph = read(data)
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert radiograph.notes[0].endswith("left out: it cannot be parsed")


@pytest.mark.parametrize("tag", [0x00081199, 0x00200021, 0x00291001])
@pytest.mark.parametrize("rest", [b"LO\4\0abcdefgh", b"LO\3\0abc ", b"LO\5\0abcde\0"])
def test_a_length_that_is_too_short_costs_that_element_alone(tag, rest):
    radiograph = read(with_element(tag, tag_bytes(tag) + rest))
    assert np.array_equal(radiograph.pixels, PLAIN)
    assert all(note.endswith("left out: it cannot be parsed") for note in radiograph.notes)


def test_the_table_of_elements_is_that_of_the_standard():
    for keyword, entry in ELEMENTS.items():
        assert entry.tag == tag_for_keyword(keyword)
        assert entry.vr == dictionary_VR(entry.tag)[:2]
        assert entry.is_multiple == (dictionary_VM(entry.tag) != "1")


def by_both(data, monkeypatch):
    """What is read, or why not, with plain headers read here and with all of them by pydicom."""
    results = []
    for plain in (True, False):
        with monkeypatch.context() as patch:
            if not plain:
                patch.setattr(encoding, "_read_plain", lambda *arguments: None)
            try:
                radiograph = read_dicom(io.BytesIO(data))
                pixels = radiograph.pixels.tobytes()
                results.append((repr(replace(radiograph, pixels=np.zeros((1, 1)))), pixels))
            except InputError as error:
                results.append((str(error), b""))
    return results


def is_plain(data):
    wanted = encoding._numbers(reader._WANTED)
    return encoding._read_plain(data[: encoding._PLAIN], 132, wanted) is not None


def test_a_plain_header_is_read_as_pydicom_reads_it(monkeypatch):
    """600 headers of drawn elements, two thirds of them damaged at one place."""
    draw = random.Random(20)
    values = {
        "US": lambda: draw.randbytes(2 * draw.randrange(3)),
        "DS": lambda: draw.choice(["", "1", "0.2\\0.2", "-3", "2000", " 12 "]),
        "IS": lambda: draw.choice(["", "1", "3\\3", "10"]),
        "CS": lambda: draw.choice(["", "YES", "IDENTITY", "INVERSE", "RECTANGULAR"]),
        "UI": lambda: draw.choice(["", "1.2.840.10008.5.1.4.1.1.1.1.1"]),
    }
    others = [
        (0x00080005, "CS", "ISO_IR 100"),
        (0x00080005, "LO", "ISO_IR 100"),
        (0x00100010, "PN", "Geheim"),
        (0x00081140, "SQ", Sequence([LUT])),
        (VOI, "SQ", Sequence([LUT])),
        (0x00290010, "LO", "PRIVATE"),
        (0x00291010, "UN", bytes(300)),
        (0x00291010, "OB", bytes(70_000)),
    ]
    optional = [k for k, entry in ELEMENTS.items() if entry.vr in values and entry.tag >> 16 != 2]
    kinds = {True: 0, False: 0}
    for number in range(600):
        changes = {}
        for keyword in draw.sample(optional, draw.randrange(4)):
            changes[ELEMENTS[keyword].tag] = (ELEMENTS[keyword].vr, values[ELEMENTS[keyword].vr]())
        for tag, vr, value in draw.sample(others, draw.randrange(4)):
            changes[tag] = (vr, value)
        syntax = draw.choice((EXPLICIT, IMPLICIT, BIG))
        data = bytearray(drawn([(tag, *rest) for tag, rest in changes.items()], syntax=syntax))
        if number % 3:
            data[draw.randrange(132, data.index(STORED[:1].tobytes()[:8]))] = draw.randrange(256)
        here, by_pydicom = by_both(bytes(data), monkeypatch)
        assert here == by_pydicom, number
        kinds[is_plain(bytes(data))] += 1
    assert min(kinds.values()) > 100, kinds
