"""Where two headers of a DICOM file disagree it is read as found, with a note, or refused.

The codestream against the data set, the VR announced against that of the elements, a defined
length against fragments. A file that loses its preamble or header is read with a note as well.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from orthoedge.runtime.dicom.reader import read_dicom  # noqa: E402
from orthoedge.runtime.errors import InputError  # noqa: E402
from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from tests.runtime.dicom.layouts import (  # noqa: E402
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    PREAMBLE,
    compressed,
    element,
    head,
    items,
    meta,
    native,
    picture,
    undefined,
)

GREY, DEEP = picture(8), picture(12)
ENCODINGS = {IMPLICIT: "implicit VR", EXPLICIT: "explicit VR", BIG_ENDIAN: "big endian"}
PIXEL_DATA = (0x7FE0, 0x10, "OW")


def data_set(encoding, samples=DEEP, bits=12):
    order = ">" if encoding == BIG_ENDIAN else "<"
    raw = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    if encoding == BIG_ENDIAN and bits == 8:
        raw = np.frombuffer(raw, np.uint16).byteswap().tobytes()  # bytes in words
    return head(samples, bits, encoding) + element(*PIXEL_DATA, raw, encoding)


def read(data):
    """From memory, and as it is fetched from a file, which must not make a difference."""
    result = read_image(data)
    fetched = read_dicom(io.BytesIO(data))
    assert np.array_equal(fetched.pixels, result.pixels)
    assert fetched.notes == result.notes
    return result


EXPECTED = {bits: read_image(native(picture(bits), bits)).pixels for bits in (8, 12, 16)}


@pytest.mark.parametrize("found", ENCODINGS)
@pytest.mark.parametrize("announced", ENCODINGS)
@pytest.mark.parametrize("after", [b"", bytes(64)], ids=["", "padded"])
def test_the_encoding_is_that_of_the_elements(announced, found, after):
    result = read(PREAMBLE + meta(announced) + data_set(found) + after)
    assert np.array_equal(result.pixels, EXPECTED[12])
    if announced == found:
        assert result.notes == ()
    else:
        (note,) = result.notes
        assert ENCODINGS[found] in note.split(", announced as ")[0]
        assert ENCODINGS[announced] in note.split(", announced as ")[1]


@pytest.mark.parametrize("found", ENCODINGS)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_data_set_alone_is_read_with_a_note(found, bits):
    result = read(data_set(found, picture(bits), bits))
    assert np.array_equal(result.pixels, EXPECTED[bits])
    assert len(result.notes) == 2
    assert "preamble" in result.notes[0]
    assert "transfer syntax" in result.notes[1]


@pytest.mark.parametrize(
    ("start", "notes"),
    [
        (b"", ["preamble"]),
        (b"DICM", ["preamble"]),
        (bytes(128), ["preamble"]),
        (b"II*\0" + bytes(124) + b"DICM", []),
        (bytes(range(128)) + b"DICM", []),
        (b"\x89PNG\r\n\x1a\n" + bytes(120) + b"DICM", []),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_preamble_holds_anything_or_is_missing(start, notes, encoding):
    result = read(start + meta(encoding) + data_set(encoding))
    assert np.array_equal(result.pixels, EXPECTED[12])
    assert len(result.notes) == len(notes)
    assert all(word in note for word, note in zip(notes, result.notes, strict=True))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("length", [None, 0, 2, 9999, 2**31])
def test_the_header_may_lack_its_syntax_and_have_a_wrong_length(encoding, length):
    header = meta(encoding)
    if length is None:
        result = read(PREAMBLE + meta(None) + data_set(encoding))
        assert any("no transfer syntax in file" in note for note in result.notes)
    else:
        result = read(
            PREAMBLE + header[:8] + struct.pack("<I", length) + header[12:] + data_set(encoding)
        )
        assert result.notes == ()
    assert np.array_equal(result.pixels, EXPECTED[12])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_preamble_may_be_followed_by_the_data_set(encoding):
    result = read(PREAMBLE + data_set(encoding))
    assert np.array_equal(result.pixels, EXPECTED[12])
    (note,) = result.notes
    assert note.startswith("no transfer syntax in file")


def test_a_compressed_file_without_a_header_is_read_by_its_codestream():
    item = pydicom.dcmread(io.BytesIO(native(DEEP, 12)))
    item.compress(f"{JPEG}80", generate_instance_uid=False)
    result = read(head(DEEP, 12) + undefined(item.PixelData))
    assert np.array_equal(result.pixels, EXPECTED[12])
    assert any("JPEG-LS" in note for note in result.notes)


@pytest.mark.parametrize("data_encoding", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("mixed", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("after", [b"", bytes(64)], ids=["", "padded"])
def test_pixel_data_in_another_vr_than_the_elements_before_is_never_shifted(
    data_encoding, mixed, after
):
    data = PREAMBLE + meta(data_encoding) + head(DEEP, 12, data_encoding)
    result = read(data + element(*PIXEL_DATA, DEEP.tobytes(), mixed) + after)
    assert np.array_equal(result.pixels, EXPECTED[12])


def test_one_element_of_another_vr_is_read_or_refused_without_calling_the_file_cut():
    rows = element(0x28, 0x10, "US", struct.pack("<H", 96))
    implicit_rows = element(0x28, 0x10, "US", struct.pack("<H", 96), IMPLICIT)
    explicit = native(DEEP, 12)
    assert np.array_equal(read(explicit.replace(rows, implicit_rows)).pixels, EXPECTED[12])
    implicit = PREAMBLE + meta(IMPLICIT) + data_set(IMPLICIT)
    with pytest.raises(InputError, match="VR is not as announced"):
        read(implicit.replace(implicit_rows, rows))


def encode_2000(samples, bits, signed=False):
    """A reversible JPEG 2000 codestream of any precision and sign."""
    openjpeg = pytest.importorskip("openjpeg.utils")
    samples = np.ascontiguousarray(samples, samples.dtype.str.replace("u", "i") if signed else None)
    return bytes(openjpeg.encode_array(samples, bits_stored=bits, use_mct=False))


@pytest.mark.parametrize("precision", [14, 16])
@pytest.mark.parametrize("number", ["90", "91"])
def test_samples_that_the_stored_bits_cannot_hold_are_refused(precision, number):
    stream = encode_2000(picture(precision), precision)
    with pytest.raises(InputError, match=rf"12 bits stored .* image of {precision} bits"):
        read(compressed(stream, DEEP, 12, JPEG + number))


@pytest.mark.parametrize("number", ["70", "80"])
def test_the_other_lossless_codecs_are_compared_too(number):
    if number == "80":
        item = pydicom.dcmread(io.BytesIO(native(picture(16), 16)))
        item.compress(f"{JPEG}80", generate_instance_uid=False)
        stream = pydicom.encaps.get_frame(item.PixelData, 0, number_of_frames=1)
    else:
        stream = pytest.importorskip("imagecodecs").ljpeg_encode(picture(16), bitspersample=16)
    with pytest.raises(InputError, match=r"12 bits stored"):
        read(compressed(stream, DEEP, 12, JPEG + number))


def test_a_codestream_that_states_all_allocated_bits_is_read_without_a_note():
    result = read(compressed(encode_2000(DEEP, 16), DEEP, 12, f"{JPEG}90"))
    assert np.array_equal(result.pixels, EXPECTED[12])
    assert result.notes == ()


def test_a_codestream_of_fewer_bits_than_stored_is_noted():
    result = read(compressed(encode_2000(DEEP, 12), DEEP, 16, f"{JPEG}90"))
    assert result.notes[0] == "the pixels have 12 bits, the header says 16 bits stored"
    assert np.array_equal(result.pixels, read_image(native(DEEP, 16)).pixels)


def test_an_overlay_in_unused_bits_of_a_lossless_image_is_no_contradiction():
    drawn = DEEP | np.uint16(0x1000) * (np.arange(80) < 20)
    overlay = element(0x6000, 0x100, "US", struct.pack("<H", 16))
    overlay += element(0x6000, 0x102, "US", struct.pack("<H", 12))
    stream = encode_2000(drawn.astype(np.uint16), 16)
    start = PREAMBLE + meta(f"{JPEG}90") + head(DEEP, 12)
    result = read(start + overlay + undefined(items(stream + b"\0" * (len(stream) % 2))))
    assert np.array_equal(result.pixels, EXPECTED[12])
    with pytest.raises(InputError, match="12 bits stored"):
        read(start + undefined(items(stream + b"\0" * (len(stream) % 2))))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_sign_of_the_codestream_is_compared(bits):
    half = 2 ** (bits - 1)
    signed = (picture(bits).astype(int) - half).astype("i1" if bits == 8 else "i2")
    expected = read_image(native(signed, bits, signed=1)).pixels
    agreeing = compressed(encode_2000(signed, bits, True), signed, bits, f"{JPEG}90", signed=1)
    result = read(agreeing)
    assert np.array_equal(result.pixels, expected)
    assert result.notes == ()
    # Two's complement in an unsigned codestream.
    patterns = (signed.astype(int) & (2**bits - 1)).astype("u1" if bits == 8 else "u2")
    result = read(compressed(encode_2000(patterns, bits), signed, bits, f"{JPEG}90", signed=1))
    assert np.array_equal(result.pixels, expected)
    assert result.notes == ("the pixels are unsigned, the header says signed",)
    with pytest.raises(InputError, match="samples below 0"):
        read(compressed(encode_2000(signed, bits, True), signed, bits, f"{JPEG}90"))
    small = (picture(bits) // 4).astype("u1" if bits == 8 else "u2")
    stream = encode_2000(small.astype(signed.dtype), bits, True)
    result = read(compressed(stream, small, bits, f"{JPEG}90"))
    assert np.array_equal(result.pixels, read_image(native(small, bits)).pixels)
    assert result.notes[0] == "the pixels are signed, the header says unsigned"


def test_rows_columns_components_and_bits_allocated_are_compared():
    stream = encode_2000(DEEP, 12)
    for samples in (DEEP.T, DEEP[:-1], DEEP[:, :-1]):
        with pytest.raises(InputError, match="differs in size"):
            read(compressed(stream, samples, 12, f"{JPEG}90"))
    with pytest.raises(InputError, match=r"1 × 12 bits .* differs in samples"):
        read(compressed(stream, DEEP, 8, f"{JPEG}90", allocated=8))
    colour = np.ascontiguousarray(np.stack([GREY] * 3, axis=-1))
    openjpeg = pytest.importorskip("openjpeg.utils")
    stream = bytes(openjpeg.encode_array(colour, bits_stored=8, photometric_interpretation=1))
    with pytest.raises(InputError, match=r"3 × 8 bits .* differs in samples"):
        read(compressed(stream, GREY, 8, f"{JPEG}90"))


@pytest.mark.parametrize("syntax", [f"{JPEG}50", f"{JPEG}70", f"{JPEG}80", "1.2.840.10008.1.2.5"])
def test_the_codec_is_that_of_the_codestream(syntax):
    result = read(compressed(encode_2000(DEEP, 12), DEEP, 12, syntax))
    assert np.array_equal(result.pixels, EXPECTED[12])
    (note,) = result.notes
    assert note.startswith("the pixels are JPEG 2000, announced as ")


@pytest.mark.parametrize("syntax", [EXPLICIT, f"{JPEG}90", "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize("padding", [b"", bytes(64)], ids=["", "padded"])
def test_a_defined_length_with_fragments_or_a_codestream_is_read_with_a_note(syntax, padding):
    stream = encode_2000(DEEP, 12)
    stream += b"\0" * (len(stream) % 2)
    start = PREAMBLE + meta(syntax) + head(DEEP, 12)
    for value in (items(stream), items(stream, end=b""), stream):
        result = read(start + element(0x7FE0, 0x10, "OB", value) + padding)
        assert np.array_equal(result.pixels, EXPECTED[12])
        assert result.notes


@pytest.mark.parametrize("bits", [8, 12])
def test_native_samples_in_fragments_and_compressed_syntaxes_without_fragments(bits):
    samples = picture(bits)
    raw = samples.tobytes()
    for syntax in (EXPLICIT, f"{JPEG}90"):
        start = PREAMBLE + meta(syntax) + head(samples, bits)
        for value in (undefined(items(raw)), undefined(items(raw[:3000], raw[3000:], end=b""))):
            assert np.array_equal(read(start + value).pixels, EXPECTED[bits])
    result = read(PREAMBLE + meta(f"{JPEG}90") + head(samples, bits) + element(*PIXEL_DATA, raw))
    assert np.array_equal(result.pixels, EXPECTED[bits])
    assert result.notes == ("the pixels are uncompressed, unlike the header says",)
    for wrong in (raw[:-10], raw + bytes(10)):
        with pytest.raises(InputError):
            read(PREAMBLE + meta(f"{JPEG}90") + head(samples, bits) + element(*PIXEL_DATA, wrong))
    with pytest.raises(InputError, match="without fragments"):
        read(PREAMBLE + meta(EXPLICIT) + head(samples, bits) + undefined(raw))


def test_bytes_after_the_last_pixel_are_noted_or_refused():
    start = PREAMBLE + meta(EXPLICIT) + head(DEEP, 12)
    raw = DEEP.tobytes()
    for excess in (b"ab", bytes(2), bytes(5000)):
        result = read(start + element(*PIXEL_DATA, raw + excess))
        assert np.array_equal(result.pixels, EXPECTED[12])
        assert result.notes == (f"{len(excess)} bytes after the last pixel were ignored",)
    with pytest.raises(InputError, match="rows, columns or bits are not as its header says"):
        read(start + element(*PIXEL_DATA, raw + raw[:1000]))
    odd = picture(8, 45, 33)
    whole = PREAMBLE + meta(EXPLICIT) + head(odd, 8)
    for value in (odd.tobytes(), odd.tobytes() + b"\0"):
        assert read(whole + element(*PIXEL_DATA, value)).notes == ()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_cut_file_is_refused_in_every_encoding(encoding, share):
    data = data_set(encoding)
    for start in (b"", meta(encoding), PREAMBLE + meta(encoding)):
        with pytest.raises(InputError):
            read_image(start + data[: int(len(data) * share)])


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize(("rows", "columns"), [(96, 79), (96, 70), (95, 80), (48, 80), (80, 96)])
def test_an_rle_image_of_other_rows_and_columns_is_refused(bits, rows, columns):
    """With too few columns every row would begin in the middle of another."""
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = picture(bits)
    planes = [(samples >> 8).astype(np.uint8)] * (bits > 8) + [samples.astype(np.uint8)]
    segments = [
        b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in plane) for plane in planes
    ]
    offsets = np.cumsum([64, *map(len, segments[:-1])])
    start = struct.pack(f"<{1 + len(segments)}I", len(segments), *offsets).ljust(64, b"\0")
    stream = b"".join((start, *segments))
    rle = "1.2.840.10008.1.2.5"
    assert np.array_equal(read(compressed(stream, samples, bits, rle)).pixels, EXPECTED[bits])
    if rows * columns == samples.size:
        return  # as many: RLE does not state which
    other = np.zeros((rows, columns), samples.dtype)
    with pytest.raises(InputError, match="more than rows"):
        read_image(compressed(stream, other, bits, rle))
