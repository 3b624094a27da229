"""Compressed pixels are read by every codec that is installed, cut ones are refused, others named.

Oracles: the uncompressed file of the same samples, imagecodecs and dcmtk.
"""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file  # noqa: E402

from orthoedge.runtime.errors import InputError  # noqa: E402
from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from tests.helpers.hostile.dicom_twins import recode  # noqa: E402
from tests.runtime.dicom.layouts import (  # noqa: E402
    DELIMITER,
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
ROOT = Path(__file__).parents[3]


def stream_of(data):
    """The codestream of a DICOM file with one fragment."""
    return pydicom.encaps.get_frame(
        pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)).PixelData, 0, number_of_frames=1
    )


def by_pydicom(samples, bits, syntax):
    item = pydicom.dcmread(pydicom.filebase.DicomBytesIO(native(samples, bits)))
    item.compress(syntax, generate_instance_uid=False)
    return pydicom.encaps.get_frame(item.PixelData, 0, number_of_frames=1)


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Name: (codestream without padding, samples, bits, syntax)."""
    folder = tmp_path_factory.mktemp("streams")
    lossless = stream_of(recode(native(DEEP, 12), "JPEGLosslessProcess14_1", folder))
    return {
        "JPEG": (cv2.imencode(".jpg", GREY)[1].tobytes(), GREY, 8, f"{JPEG}50"),
        "JPEG lossless": (lossless.rstrip(b"\0"), DEEP, 12, f"{JPEG}70"),
        "JPEG-LS": (by_pydicom(DEEP, 12, f"{JPEG}80").rstrip(b"\0"), DEEP, 12, f"{JPEG}80"),
        "JPEG 2000": (by_pydicom(DEEP, 12, f"{JPEG}90").rstrip(b"\0"), DEEP, 12, f"{JPEG}90"),
    }


CODECS = ["JPEG", "JPEG lossless", "JPEG-LS", "JPEG 2000"]


def levels(samples, bits, signed=0):
    """Grey levels of the uncompressed file."""
    return read_image(native(samples, bits, signed=signed)).pixels


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "pad", [b"\0", b" ", b"\xff", b"\n", b"\xd9", b" " * 7, bytes(300), b"end of fragment, v1.2"]
)
def test_what_fills_a_fragment_after_the_end_does_not_matter(streams, codec, pad):
    stream, samples, bits, syntax = streams[codec]
    expected = read_image(compressed(stream, samples, bits, syntax))
    padded = stream + pad + b" " * ((len(stream) + len(pad)) % 2)
    result = read_image(compressed(padded, samples, bits, syntax))
    assert np.array_equal(result.pixels, expected.pixels)
    assert result.notes == ()
    tolerance = 12 if codec == "JPEG" else 0  # its quantization, at the noise of this picture
    assert np.abs(expected.pixels.astype(int) - levels(samples, bits)).max() <= tolerance


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "layout",
    [
        lambda s: items(s[:100], s[100:1000], s[1000:]),
        lambda s: items(s, table=struct.pack("<I", 0)),
        lambda s: items(s, end=b""),
        lambda s: items(s, table=None),
        lambda s: items(s) + element(0xFFFC, 0xFFFC, "OB", bytes(64)),
        lambda s: items(s, end=b"") + element(0xFFFC, 0xFFFC, "OB", bytes(64)),
    ],
    ids=["three fragments", "table", "no delimiter", "no table", "padding", "both"],
)
def test_fragments_are_joined_however_they_end(streams, codec, layout):
    stream, samples, bits, syntax = streams[codec]
    stream += b"\0" * (len(stream) % 2)
    start = PREAMBLE + meta(syntax) + head(samples, bits)
    expected = read_image(start + undefined(items(stream)))
    result = read_image(start + undefined(layout(stream)))
    assert np.array_equal(result.pixels, expected.pixels)
    assert result.notes == ()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("closed", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_cut_codestream_is_refused(streams, codec, closed, share):
    stream, samples, bits, syntax = streams[codec]
    if closed and codec != "JPEG 2000":
        pytest.skip("only JPEG 2000 states how long each of its parts is")
    cut = stream[: int(len(stream) * share)] + closed
    with pytest.raises(InputError, match=r"truncated|no readable header|damaged"):
        read_image(compressed(cut, samples, bits, syntax))


@pytest.mark.parametrize("codec", CODECS[:2])
def test_an_end_marker_inside_application_data_is_not_the_end(streams, codec):
    stream, samples, bits, syntax = streams[codec]
    thumbnail = b"\xff\xd8 a thumbnail \xff\xd9"
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    expected = read_image(compressed(stream, samples, bits, syntax)).pixels
    whole = stream[:2] + segment + stream[2:]
    assert np.array_equal(read_image(compressed(whole, samples, bits, syntax)).pixels, expected)
    trailing = stream[: len(stream) // 2] + segment  # cut, and ending in the letters of an end
    with pytest.raises(InputError):
        read_image(compressed(trailing[: trailing.rfind(b"\xff\xd9") + 2], samples, bits, syntax))


def test_two_images_in_one_frame_are_refused_and_a_table_of_two_frames_too(streams):
    stream, samples, bits, syntax = streams["JPEG-LS"]
    with pytest.raises(InputError, match="several compressed images"):
        read_image(compressed(stream + stream, samples, bits, syntax))
    stream += b"\0" * (len(stream) % 2)
    table = struct.pack("<II", 0, len(stream) + 8)
    start = PREAMBLE + meta(syntax) + head(samples, bits)
    with pytest.raises(InputError, match="multi-frame DICOM with 2 frames"):
        read_image(start + undefined(items(stream, stream, table=table)))


@pytest.mark.parametrize("level", [75, 95, 100])
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_twelve_bit_jpeg_is_decoded_as_by_imagecodecs(level, bits, options, capfd):
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = picture(bits)
    try:
        stream = imagecodecs.jpeg8_encode(samples, level=level, bitspersample=12, **options)
    except TypeError:
        pytest.skip(f"this imagecodecs has no {options}")
    decoded = np.minimum(imagecodecs.jpeg8_decode(stream), 2**bits - 1)
    result = read_image(compressed(stream, samples, bits, f"{JPEG}51"))
    # Two implementations of the inverse DCT may differ by one of 2 ** bits.
    assert np.abs(result.pixels.astype(int) - levels(decoded, bits)).max() <= 1
    assert capfd.readouterr().err == ""


def test_overshoot_of_a_lossy_codec_is_clipped_with_a_note_and_never_masked():
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = np.zeros((96, 80), np.uint16)
    samples[:, 21:59] = 1023  # a collimator's edges: the DCT overshoots at both
    stream = imagecodecs.jpeg8_encode(samples, level=60, bitspersample=12)
    decoded = imagecodecs.jpeg8_decode(stream)
    beyond = decoded > 1023
    assert beyond.any()
    result = read_image(compressed(stream, samples, 10, f"{JPEG}51"))
    assert (result.pixels[beyond] == 255).all()
    assert result.notes == (
        f"lossy compression: {beyond.sum()} samples beyond the 10 bits stored were clipped to them",
    )


def test_twelve_bits_in_a_file_of_ten_are_refused_naming_both():
    imagecodecs = pytest.importorskip("imagecodecs")
    stream = imagecodecs.jpeg8_encode(DEEP, level=95, bitspersample=12)
    with pytest.raises(InputError, match=r"10 bits stored in its header, but samples from \d+ to"):
        read_image(compressed(stream, DEEP, 10, f"{JPEG}51"))


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_twelve_bit_jpegs_of_pydicom_are_read(name):
    imagecodecs = pytest.importorskip("imagecodecs")
    item = pydicom.dcmread(get_testdata_file(name, download=False))
    frame = pydicom.encaps.get_frame(item.PixelData, 0, number_of_frames=1)
    try:
        stored = imagecodecs.jpeg8_decode(frame)
    except imagecodecs.Jpeg8Error:
        with pytest.raises(InputError, match=r"truncated|damaged"):  # broken on purpose
            read_image(compressed(frame, np.zeros((1024, 256), np.uint16), 12, f"{JPEG}51"))
        return
    result = read_image(compressed(frame, stored, 12, f"{JPEG}51"))
    assert np.abs(result.pixels.astype(int) - levels(stored, 12)).max() <= 1


HOSTILE = """
import runpy, sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from tests.helpers.hostile.files import mutate
from tests.runtime.dicom.layouts import JPEG, compressed, picture
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image

stream, count = open(sys.argv[3], "rb").read(), 0
samples = picture(int(sys.argv[4]))
for place in range(400):
    rng = np.random.default_rng([3, place])
    changed = mutate(rng, stream)
    if place % 3 == 0:
        changed = changed[:2] + changed[2:].rstrip(b"\\xff\\xd9") + b"\\xff\\xd9"
    if place % 5 == 0:  # the header of JFIF, which decoders warn of
        changed = changed[:11] + rng.bytes(2) + changed[13:]
    if place % 7 == 0:
        at = 2 + int(rng.integers(0, 200))
        changed = stream[:at] + b"\\xff" + rng.bytes(1) + stream[at + 2:]
    try:
        read_image(compressed(changed, samples, int(sys.argv[4]), JPEG + sys.argv[5]))
    except InputError:
        count += 1
print(count)
"""


@pytest.mark.parametrize(("bits", "syntax"), [(8, "50"), (12, "51"), (12, "70")])
def test_hostile_jpegs_end_no_process(tmp_path, bits, syntax, streams):
    if syntax == "51":
        imagecodecs = pytest.importorskip("imagecodecs")
        stream = imagecodecs.jpeg8_encode(DEEP, level=95, bitspersample=12)
    else:
        stream = streams["JPEG" if bits == 8 else "JPEG lossless"][0]
    path = tmp_path / "stream"
    path.write_bytes(stream)
    arguments = [str(ROOT), str(ROOT / ".typing"), str(path), str(bits), syntax]
    ended = subprocess.run(
        [sys.executable, "-c", HOSTILE, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) > 100  # refused


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        (f"{JPEG}94", "JPIP Referenced"),
        (f"{JPEG}95", "JPIP Referenced Deflate"),
        (f"{JPEG}100", "MPEG2"),
        (f"{JPEG}102", "MPEG-4"),
        (f"{JPEG}107", "HEVC"),
        (f"{JPEG}110", "JPEG XL"),
        ("1.2.840.10008.1.2.8.1", "Deflated Image Frame"),
        ("1.2.840.10008.1.20", "Papyrus"),
        ("1.2.840.113619.5.2", "private"),
        ("1.3.6.1.4.1.5962.300.2", "private"),
    ],
)
def test_a_transfer_syntax_that_is_not_read_is_named_with_the_way_out(streams, uid, name):
    data = compressed(streams["JPEG"][0], GREY, 8, uid)
    with pytest.raises(InputError, match=rf"transfer syntax .*{name}.*; export it uncompressed"):
        read_image(data)


def test_a_deflated_file_names_the_tool_that_inflates_it():
    with pytest.raises(InputError, match=r"deflated transfer syntax.*dcmconv \+te"):
        read_image(PREAMBLE + meta("1.2.840.10008.1.2.1.99") + b"\x03\x00")


@pytest.mark.parametrize("marker", [0xC9, 0xCB, 0xC5])
def test_arithmetic_and_hierarchical_jpegs_are_named(streams, marker):
    stream, samples, bits, syntax = streams["JPEG"]
    at = stream.index(b"\xff\xc0")
    changed = stream[: at + 1] + bytes([marker]) + stream[at + 2 :]
    with pytest.raises(InputError, match="arithmetic or hierarchical JPEG"):
        read_image(compressed(changed, samples, bits, syntax))


def test_jpeg_2000_in_boxes_and_of_part_2_is_read():
    imagecodecs = pytest.importorskip("imagecodecs")
    for number, form in (("92", "j2k"), ("93", "j2k"), ("90", "jp2")):
        stream = imagecodecs.jpeg2k_encode(
            DEEP, codecformat=form, level=0, reversible=True, bitspersample=12
        )
        result = read_image(compressed(stream, DEEP, 12, JPEG + number))
        assert np.array_equal(result.pixels, levels(DEEP, 12)), number


def test_jpeg_2000_is_complete_where_every_tile_is():
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(GREY).save(file, "JPEG2000", tile_size=(32, 32), no_jp2=True)
    stream = file.getvalue()
    expected = levels(GREY, 8)
    assert np.array_equal(read_image(compressed(stream, GREY, 8, f"{JPEG}91")).pixels, expected)
    last = stream.rindex(b"\xff\x90\x00\x0a")
    with pytest.raises(InputError, match="truncated"):  # the last tile is missing, and closed
        read_image(compressed(stream[:last] + b"\xff\xd9", GREY, 8, f"{JPEG}91"))
    open_ended = stream[: last + 6] + bytes(4) + stream[last + 10 :]  # up to the end of codestream
    assert np.array_equal(read_image(compressed(open_ended, GREY, 8, f"{JPEG}91")).pixels, expected)


@pytest.mark.parametrize("number", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_is_read(number):
    imagecodecs = pytest.importorskip("imagecodecs")
    if not imagecodecs.HTJ2K.available:
        pytest.skip("this imagecodecs has no HTJ2K")
    stream = imagecodecs.htj2k_encode(DEEP)
    result = read_image(compressed(stream, DEEP, 12, JPEG + number))
    assert np.array_equal(result.pixels, levels(DEEP, 12))


@pytest.mark.parametrize("bits", [8, 12])
def test_encapsulated_uncompressed_samples_are_read(bits):
    samples = picture(bits)
    raw = samples.tobytes()
    uid = "1.2.840.10008.1.2.1.98"
    for parts in ((raw,), (raw[:1000], raw[1000:])):
        data = PREAMBLE + meta(uid) + head(samples, bits) + undefined(items(*parts))
        result = read_image(data)
        assert np.array_equal(result.pixels, levels(samples, bits))
        assert result.notes == ()
    with pytest.raises(InputError):
        read_image(PREAMBLE + meta(uid) + head(samples, bits) + undefined(items(raw[:-2])))


def test_rle_with_the_letters_of_a_delimiter_inside_is_read():
    samples = DEEP.copy()
    samples[10, 10:20:2] = 0xFE
    raw = samples.astype("<u2").view(np.uint8).reshape(96, 80, 2)

    def segment(plane):
        flat = plane.tobytes()
        parts = (flat[at : at + 128] for at in range(0, len(flat), 128))
        return b"".join(bytes([len(part) - 1]) + part for part in parts)

    low = bytearray(segment(raw[..., 0]))
    high = segment(raw[..., 1])
    low[1:9] = DELIMITER  # samples like others, for what RLE knows
    samples.reshape(-1)[:8] = samples.reshape(-1)[:8] & 0xFF00 | np.frombuffer(DELIMITER, np.uint8)
    frame = struct.pack("<16I", 2, 64, 64 + len(high), *[0] * 13) + high + bytes(low)
    frame += b"\0" * (len(frame) % 2)
    result = read_image(compressed(frame, samples, 12, "1.2.840.10008.1.2.5"))
    assert np.array_equal(result.pixels, levels(samples, 12))


def test_a_decoder_that_fails_is_followed_by_the_next_one_and_noted(streams, monkeypatch):
    jpeg_ls = pytest.importorskip("jpeg_ls")

    def fails(*arguments, **options):
        raise RuntimeError("not this one")

    stream, samples, bits, syntax = streams["JPEG-LS"]
    monkeypatch.setattr(jpeg_ls, "decode_pixel_data", fails)
    result = read_image(compressed(stream, samples, bits, syntax))
    assert np.array_equal(result.pixels, levels(samples, bits))
    assert result.notes == ("decoded by python-gdcm, after pyjpegls failed",)
    monkeypatch.setattr("gdcm.Image.GetBuffer", fails)
    with pytest.raises(InputError, match="damaged DICOM: it cannot be decoded as JPEG-LS"):
        read_image(compressed(stream, samples, bits, syntax))


def dcmtk(tool, source, target):
    command, *options = tool.split()
    if shutil.which(command) is None:
        pytest.skip("dcmtk is not installed")
    subprocess.run([command, *options, source, target], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("tool", "tolerance"),
    [
        *((f"dcmcjpeg +el +sv {selection}", 0) for selection in range(1, 8)),
        *(("dcmcjpeg +e1", 0), ("dcmcrle", 0), ("dcmcjpls", 0), ("dcmcjpls +en", 2)),
        *(("dcmcjpeg +ee +q 100", 1), ("dcmcjpeg +es +q 100", 2), ("dcmcjpeg +ep +q 100", 2)),
        *(("dcmconv +tb", 0), ("dcmconv +ti", 0), ("dcmcjpeg +eb +q 100", 2)),
    ],
)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_what_dcmtk_writes_is_read(tmp_path, tool, tolerance, bits):
    samples = picture(bits)
    source, target, back = (tmp_path / name for name in ("a.dcm", "b.dcm", "c.dcm"))
    source.write_bytes(native(samples, bits))
    dcmtk(tool, source, target)
    result = read_image(target)
    assert np.abs(result.pixels.astype(int) - levels(samples, bits)).max() <= tolerance
    if "cjp" in tool:
        dcmtk("dcmdjpls" if "ls" in tool else "dcmdjpeg", target, back)
        # One grey level, where two inverse DCTs round one stored value differently.
        assert np.abs(result.pixels.astype(int) - read_image(back).pixels).max() <= 1


def test_a_table_of_fragments_is_not_one_of_frames(streams):
    stream, samples, bits, syntax = streams["JPEG lossless"]
    start = PREAMBLE + meta(syntax) + head(samples, bits)
    table = struct.pack("<II", 0, 108)
    parts = items(stream[:100], stream[100:], table=table)
    assert np.array_equal(read_image(start + undefined(parts)).pixels, levels(samples, bits))


@pytest.mark.parametrize("table", [b"", bytes(4)])
@pytest.mark.parametrize("codec", CODECS)
def test_two_frames_are_refused_whatever_is_between_them(streams, codec, table):
    stream, samples, bits, syntax = streams[codec]
    start = PREAMBLE + meta(syntax) + head(samples, bits)
    two = items(stream + bytes(2 + len(stream) % 2), stream, table=table)
    with pytest.raises(InputError, match="multi-frame DICOM with 2 frames"):
        read_image(start + undefined(two))


@pytest.mark.parametrize("pad", [b"", bytes(1), bytes(5)])
def test_jpeg_2000_without_its_end_marker_is_read_where_its_tile_parts_fill_it(pad):
    imagecodecs = pytest.importorskip("imagecodecs")
    stream = imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True, codecformat="j2k")
    assert stream.endswith(b"\xff\xd9")
    syntax = f"{JPEG}90"
    read = read_image(compressed(stream[:-2] + pad, DEEP, 12, syntax))
    assert np.array_equal(read.pixels, levels(DEEP, 12))
    for cut in (stream[:-100], stream[:-100] + bytes(98), stream[:-3], stream[:-4] + bytes(2)):
        with pytest.raises(InputError, match="truncated"):
            read_image(compressed(cut, DEEP, 12, syntax))
