import struct
import zlib

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.headers import critical_chunks
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.files import png_chunks, png_of
from tests.helpers.hostile.planted import picture, with_chunk

PLAIN = cv2.imencode(".png", picture())[1].tobytes()


@pytest.mark.parametrize("kind", ["iCCP", "tEXt"])
def test_other_chunks_are_dropped_and_no_pixel_changes(kind, capfd):
    described = with_chunk(picture(), kind, "somebody")
    twice = described[:33] + described[33 : 33 + len(described) - len(PLAIN)] + described[33:]
    for data in (described, twice):
        assert b"somebody" in data
        assert critical_chunks(data) == (PLAIN, False)
        assert np.array_equal(read_image(data).pixels, picture())
    assert capfd.readouterr().err == ""


def test_a_file_of_critical_chunks_is_not_copied():
    assert critical_chunks(PLAIN)[0] is PLAIN


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(128))),
        (b"gAMA", bytes(4)),
        (b"sBIT", b"\xff"),
        (b"pHYs", b"odd"),
        (b"tIME", bytes(7)),
        (b"zTXt", b"no text"),
        (b"eXIf", b"not EXIF"),
        (b"gray", b"a private one"),
    ],
)
def test_what_libpng_says_of_other_chunks_refuses_no_file(chunk, capfd):
    first, *rest = png_chunks(PLAIN)
    read = read_image(png_of([first, chunk, *rest]))
    assert np.array_equal(read.pixels, picture())
    assert read.notes == ()
    assert capfd.readouterr().err == ""


def test_a_transparent_value_is_noted():
    first, *rest = png_chunks(PLAIN)
    read = read_image(png_of([first, (b"tRNS", struct.pack(">H", 100)), *rest]))
    assert np.array_equal(read.pixels, picture())
    assert read.notes == ("alpha channel dropped",)


def with_stream(stream: bytes) -> bytes:
    first, *_, last = png_chunks(PLAIN)
    return png_of([first, (b"IDAT", stream), last])


STREAM = b"".join(body for name, body in png_chunks(PLAIN) if name == b"IDAT")
RAW = zlib.decompress(STREAM)


@pytest.mark.parametrize(
    "stream",
    [
        STREAM[:-4] + b"\0\0\0\0",  # of another checksum
        STREAM[: len(STREAM) // 2],
        STREAM[:-40] + bytes(40),
        b"\x78\x9c" + bytes(60),
        zlib.compress(RAW[:-1]),
        zlib.compress(RAW[: len(RAW) // 2]),
        zlib.compress(RAW + bytes(200)),
        zlib.compress(b"\x07" + RAW[1:]),  # no such filter
        STREAM + b"more",
    ],
)
def test_a_bad_stream_in_chunks_with_right_checksums_is_refused(stream, capfd):
    with pytest.raises(InputError, match=r"^damaged PNG"):
        read_image(with_stream(stream))
    assert capfd.readouterr().err == ""
