from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image


def radiograph(height: int = 96, width: int = 80) -> np.ndarray:
    """Something smooth with a bright shaft: compresses like a radiograph, fills the range."""
    y, x = np.mgrid[:height, :width]
    soft = 60 + 40 * np.sin(y / 17) + np.random.default_rng(0).normal(0, 2, (height, width))
    return np.clip(soft + 110 * np.exp(-(((x - width / 2) / 8) ** 2)), 0, 255).astype(np.uint8)


def encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return data.tobytes()


def png(width: int, height: int, raw: bytes, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG written by hand, so that its header can say what its pixels do not."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def tiff(image: np.ndarray, order: str = "<", photometric: int = 1, pages: int = 1) -> bytes:
    """An uncompressed TIFF of one strip; with `pages` 2 the second is the first again."""
    height, width = image.shape
    bits = image.dtype.itemsize * 8
    raw = image.astype(image.dtype.newbyteorder(order)).tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: height, 279: len(raw)}
    at = 8 + len(raw)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    following = at if pages == 2 else 0
    return (
        head
        + raw
        + struct.pack(order + "H", len(tags))
        + entries
        + struct.pack(order + "I", following)
    )


GREY = radiograph()
JPEG = encode(".jpg", GREY, cv2.IMWRITE_JPEG_QUALITY, 90)
PNG = encode(".png", GREY)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
PHOTOGRAPH = cv2.resize(COLOURS, (80, 96), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_give_the_pixels_that_were_written(tmp_path, suffix):
    path = tmp_path / "misnamed.txt"  # the name says nothing
    path.write_bytes(encode(suffix, GREY))
    for source in (path, str(path), path.read_bytes()):
        read = read_image(source)
        assert np.array_equal(read.pixels, GREY)
        assert (read.source_bits, read.spacing_mm, read.notes) == (8, None, ())
        assert read.pixels.flags.c_contiguous


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_jpeg_baseline_and_progressive_are_read(options):
    data = encode(".jpg", GREY, cv2.IMWRITE_JPEG_QUALITY, 95, *options)
    read = read_image(data)
    assert np.abs(read.pixels.astype(int) - GREY).mean() < 2  # quality 95
    assert np.array_equal(read_image(data + b"trailing bytes").pixels, read.pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_the_smallest_value_is_white_is_turned_round(order, dtype):
    image = GREY.astype(dtype) * (257 if dtype == np.uint16 else 1)
    assert np.array_equal(read_image(tiff(image, order)).pixels, GREY)
    assert np.array_equal(read_image(tiff(image, order, photometric=0)).pixels, 255 - GREY)


def test_twelve_bits_in_a_sixteen_bit_container_use_the_full_range_and_say_so():
    stored = np.random.default_rng(0).integers(100, 3000, (64, 64), dtype=np.uint16)
    stored[0, :3] = 65535  # dead pixels must not set the window
    read = read_image(encode(".png", stored))
    low, high = np.percentile(stored, (0.5, 99.5), method="inverted_cdf").astype(float)
    expected = np.clip(np.rint((stored - low) * 255 / (high - low)), 0, 255)
    assert np.array_equal(read.pixels, expected)
    assert read.source_bits == 16
    assert f"from {low:g} to {high:g}" in read.notes[0]


def test_an_eight_bit_image_in_a_sixteen_bit_container_comes_out_unchanged():
    read = read_image(encode(".png", GREY.astype(np.uint16) * 257))
    assert np.array_equal(read.pixels, GREY)


def test_rgb_with_equal_channels_is_grey_and_alpha_is_dropped_both_with_a_note():
    rgb = cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)
    read = read_image(encode(".png", rgb))
    assert np.array_equal(read.pixels, GREY)
    assert read.notes == ("RGB file taken as grey",)
    read = read_image(encode(".png", cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGRA)))
    assert np.array_equal(read.pixels, GREY)
    assert read.notes == ("alpha channel dropped", "RGB file taken as grey")
    # Chroma rounding of a poor JPEG is not colour.
    poor = encode(".jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 20)
    assert read_image(poor).notes == ("RGB file taken as grey",)


def test_a_small_coloured_marker_is_noted_and_a_photograph_refused():
    marked = cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)
    marked[2:8, 2:8] = (0, 255, 255)
    assert "are coloured" in read_image(encode(".png", marked)).notes[0]
    for suffix in (".png", ".jpg", ".bmp"):
        with pytest.raises(InputError, match=r"^colour image: the channels differ on \d+%"):
            read_image(encode(suffix, PHOTOGRAPH))


NO_HEADER = PNG[:8] + PNG[33:]
FLIPPED = PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:]
RAW_ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"this is text\n", "not an image: unknown content", id="text"),
        pytest.param(b"%PDF-1.7 ...", "not an image: a PDF file", id="pdf"),
        pytest.param(JPEG[: len(JPEG) // 2], "truncated JPEG", id="half a jpeg"),
        pytest.param(JPEG[:-2], "truncated JPEG", id="jpeg without its end"),
        pytest.param(JPEG[:12], "truncated", id="jpeg header cut"),
        pytest.param(JPEG[: len(JPEG) // 2] + b"\xff\xd9", "damaged JPEG", id="jpeg closed early"),
        pytest.param(PNG[: len(PNG) // 2], "truncated PNG", id="half a png"),
        pytest.param(PNG[:-12], "truncated PNG", id="png without IEND"),
        pytest.param(PNG[:20], "truncated", id="png header cut"),
        pytest.param(NO_HEADER, "damaged PNG: no IHDR", id="png without IHDR"),
        pytest.param(FLIPPED, "damaged PNG: checksum", id="one bit of a png"),
        pytest.param(png(80, 96, RAW_ROWS[:900]), "damaged PNG", id="png with rows missing"),
        pytest.param(tiff(GREY, pages=2), "TIFF with several pages", id="two pages"),
        pytest.param(tiff(GREY)[:-40], "truncated", id="tiff cut in its tags"),
        pytest.param(encode(".bmp", GREY)[:-1], "truncated BMP", id="bmp without a byte"),
        pytest.param(encode(".png", GREY[:31]), "image too small: 80×31", id="too small"),
        pytest.param(encode(".png", 0 * GREY + 7), "no contrast: .* 7", id="constant"),
        pytest.param(png(0, 96, b""), "damaged PNG: size 0×96", id="no width"),
    ],
)
def test_bad_input_is_refused_with_one_line_that_says_what_is_wrong(data, message):
    with pytest.raises(InputError, match=f"^{message}") as caught:
        read_image(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(2, 60, 3))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".bmp"])
def test_a_file_cut_anywhere_is_refused(suffix, cut):
    data = encode(suffix, GREY)
    with pytest.raises(InputError):
        read_image(data[: len(data) * cut // 60])


def test_bytes_changed_at_random_give_an_image_or_an_input_error():
    rng = np.random.default_rng(0)
    for suffix in (".png", ".jpg", ".tiff", ".bmp"):
        clean = encode(suffix, GREY)
        for _ in range(60):
            data = bytearray(clean)
            for at in rng.integers(0, min(len(data), 200), 3):
                data[at] = rng.integers(0, 256)
            try:
                assert read_image(bytes(data), max_pixels=10**6).pixels.ndim == 2
            except InputError:
                continue


HUGE = {
    "png": png(40_000, 40_000, b"\0" * 100),
    "jpeg": JPEG.replace(struct.pack(">HH", 96, 80), struct.pack(">HH", 40_000, 40_000), 1),
    "tiff": tiff(GREY)[:8]
    + tiff(GREY)[8:].replace(
        struct.pack("<HHII", 256, 4, 1, 80) + struct.pack("<HHII", 257, 4, 1, 96),
        struct.pack("<HHII", 256, 4, 1, 40_000) + struct.pack("<HHII", 257, 4, 1, 40_000),
    ),
    "bmp": encode(".bmp", GREY)[:18] + struct.pack("<ii", 40_000, 40_000) + bytes(100),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_header_over_the_limit_is_refused_before_anything_is_allocated(kind):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"^image too large: 40000×40000"):
            read_image(HUGE[kind])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_limit_is_on_rows_times_columns():
    assert read_image(PNG, max_pixels=96 * 80).pixels.shape == (96, 80)
    with pytest.raises(InputError, match="too large"):
        read_image(PNG, max_pixels=96 * 80 - 1)


def test_a_path_that_cannot_be_read_is_an_input_error_without_the_path(tmp_path):
    for path, message in ((tmp_path / "absent.png", "no such file"), (tmp_path, "cannot read the")):
        with pytest.raises(InputError, match=f"^{message}") as caught:
            read_image(path)
        assert str(tmp_path) not in str(caught.value)


def test_reading_images_does_not_import_pydicom():
    code = (
        "import sys; import orthoedge.runtime.image_io.reader, orthoedge.runtime.dicom.reader; "
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
