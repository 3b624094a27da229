"""No file crashes or blocks intake, makes it allocate, or changes a pixel where that can be told.

A small count of what `tests/robustness/test_robustness_hostile.py` does.
"""

import contextlib
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.headers import check_complete, read_header
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.bombs import cost_of, jpeg_2000_of, picture_bombs, tiff
from tests.helpers.hostile.files import (
    cases,
    dicom_samples,
    encode,
    pictures,
    png_chunks,
    png_of,
    radiograph,
    scans,
)

FILES = {**pictures(), **scans()}


def read(data):
    """The pixels, or the one line that refuses them."""
    try:
        return read_image(data).pixels
    except InputError as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_damaged_files_are_read_or_refused():
    results = [read(data) for _, data in cases(len(dicom_samples()) + 200, seed=11)]
    refused = sum(isinstance(result, str) for result in results)
    assert 0 < refused < len(results)


@pytest.mark.parametrize("beginning", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"BM", b""])
def test_any_bytes_are_a_header_or_an_input_error(beginning):
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=300))
    def check(rest):
        with contextlib.suppress(InputError):
            check_complete(beginning + rest, read_header(beginning + rest).kind)

    check()


def test_no_flipped_bit_of_a_png_changes_a_pixel_in_silence():
    data = encode(".png", radiograph(40))
    whole = read(data)
    for place in range(0, 8 * len(data), 23):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        result = read(bytes(changed))
        assert isinstance(result, str) or np.array_equal(result, whole), place


def test_an_animated_png_is_refused():
    frames = (b"acTL", struct.pack(">II", 2, 0))
    chunks = png_chunks(FILES["grey.png"])
    with pytest.raises(InputError, match="animated PNG"):
        read_image(png_of([chunks[0], frames, *chunks[1:]]))


@pytest.mark.parametrize("name", ["grey.jpg", "colour.jpg", "progressive.jpg", "restarts.jpg"])
def test_no_cut_jpeg_is_read(name):
    data = FILES[name]
    assert not isinstance(read(data), str)
    for cut in range(1, len(data), 7):
        assert isinstance(read(data[:-cut]), str), cut


def test_a_progressive_jpeg_closed_before_its_last_scan_is_refused():
    data = FILES["progressive.jpg"]
    start = data.rindex(b"\xff\xda")
    for end in range(data.index(b"\xff\xda"), start, 5):
        assert isinstance(read(data[:end] + b"\xff\xd9"), str), end


def test_a_scan_of_more_components_than_the_file_has_bytes_is_refused():
    data = FILES["grey.jpg"]
    with pytest.raises(InputError, match="truncated JPEG"):
        read_image(data[: data.index(b"\xff\xda")] + b"\xff\xda\x00\x03\xff\xff\xd9")


def test_run_length_coded_bitmaps_are_refused_for_they_may_end_early():
    data = bytearray(FILES["grey.bmp"])
    data[30:34] = struct.pack("<I", 1)
    with pytest.raises(InputError, match="BMP with compressed rows"):
        read_image(bytes(data))


def test_a_tiff_whose_strips_hold_less_than_the_picture_is_refused():
    tags = {"width": 96, "height": 96, "bits": 8, "compression": 1, "photometric": 1}
    with pytest.raises(InputError, match="its strips hold less than the picture"):
        read_image(tiff(**tags, samples=1, rows=96, strip=200, bytes=3000))


def test_a_codestream_of_several_pictures_is_refused():
    with pytest.raises(InputError, match="differs in samples from its header"):
        read_image(jpeg_2000_of(3))


def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(InputError, match="a folder, a pipe or a device"):
            read_image(path)


def test_a_panic_of_a_decoder_is_an_input_error():
    data = bytearray(FILES["RLE.dcm"])
    at = data.rindex(struct.pack("<I", 2), 0, len(data) // 4)  # segments; the offsets follow
    data[at + 4 : at + 12] = struct.pack("<II", 64, 64)
    assert isinstance(read(bytes(data)), str)


@pytest.mark.parametrize("name", picture_bombs())
def test_bombs_are_refused_before_anything_is_allocated(name):
    read_image(FILES["JPEG 2000.dcm"])  # loads what DICOM needs
    data = picture_bombs()[name]
    message, _, more = cost_of(lambda: read_image(data))
    assert message
    assert more < 50
