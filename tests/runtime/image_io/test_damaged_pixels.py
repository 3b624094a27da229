"""Damage inside the pixels is refused where a checksum, a length or the decoder shows it."""

import io
import itertools
import struct

import cv2
import imagecodecs
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox import SandboxedReader
from tests.helpers.hostile.files import dicom, encode, radiograph
from tests.helpers.image_files.tiff import TiffLayout, assemble, encode_block, encode_tiff

COMPRESSIONS = (5, 8, 32946, 32773)
RNG = np.random.default_rng(0)


def refusal(data, reader=read_image):
    """The line that refuses a file, or an empty one."""
    try:
        reader(data)
    except InputError as error:
        message = str(error)
    else:
        return ""
    assert len(message.splitlines()) == 1
    return message


def stored_blocks(compression, bits, block):
    samples = radiograph(96, bits)[..., None]
    if bits == 1:
        samples = (radiograph(96)[..., None] > 120).astype(np.uint8)
    layout = TiffLayout(bits, compression=compression, **block)
    data = encode_tiff(samples, layout)
    assert read_image(data).pixels.shape == (96, 96)
    tags = _tags(data)
    offsets, lengths = (tags[tag] for tag in ((324, 325) if block.get("block") else (273, 279)))
    blocks = [data[at : at + size] for at, size in zip(offsets, lengths, strict=True)]
    return samples.shape, layout, blocks


def _tags(data):
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from("<HHI", data, entry)
        kind = {1: "B", 3: "H", 4: "I"}[code]
        place = entry + 8
        if struct.calcsize(f"<{length}{kind}") > 4:
            (place,) = struct.unpack_from("<I", data, place)
        tags[tag] = struct.unpack_from(f"<{length}{kind}", data, place)
    return tags


def damaged(block):
    """What a copy that was broken off, a bad sector and a wrong length leave of a strip."""
    yield "empty", b""
    yield "first half", block[: len(block) // 2]
    yield "end cut off", block[:-4]
    yield "zeros", bytes(len(block))
    yield "end of zeros", block[: len(block) // 3] + bytes(len(block) - len(block) // 3)
    yield "twice", block + block


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_damaged_strip_or_tile_is_refused(compression, bits):
    count = 0
    for block in ({}, {"strip_rows": 7}, {"block": (32, 48)}):
        shape, layout, blocks = stored_blocks(compression, bits, block)
        at = len(blocks) // 2
        for name, bad in damaged(blocks[at]):
            if name == "twice" and compression != 32773:
                continue  # after the end of LZW and deflate there may be anything
            data = assemble(shape, layout, [*blocks[:at], bad, *blocks[at + 1 :]])
            assert "TIFF" in refusal(data), (name, block)
            count += 1
    assert count == 3 * (6 if compression == 32773 else 5)


def test_no_changed_byte_of_a_deflate_strip_changes_a_pixel_in_silence():
    shape, layout, blocks = stored_blocks(8, 8, {"strip_rows": 32})
    whole = read_image(assemble(shape, layout, blocks)).pixels
    refused = 0
    for at in range(0, len(blocks[1]), 11):
        bad = bytearray(blocks[1])
        bad[at] ^= 1 << at % 8
        data = assemble(shape, layout, [blocks[0], bytes(bad), blocks[2]])
        if refusal(data):
            refused += 1
        else:  # bits of the header of zlib that no decoder reads
            assert np.array_equal(read_image(data).pixels, whole), at
    assert refused > 100


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_strip_of_more_rows_than_stated_is_refused(compression):
    shape, layout, blocks = stored_blocks(compression, 8, {"strip_rows": 16})
    _, _, longer = stored_blocks(compression, 8, {"strip_rows": 17})
    data = assemble(shape, layout, [longer[0], *blocks[1:]])
    assert "does not end where its rows end" in refusal(data)


def test_a_last_strip_that_is_filled_up_is_read():
    for compression, rows in itertools.product(COMPRESSIONS, (7, 36, 95)):
        shape, layout, blocks = stored_blocks(compression, 8, {"strip_rows": rows})
        filled = np.zeros((rows, 96, 1), np.uint8)
        filled[: 96 % rows] = radiograph(96)[-(96 % rows) :, :, None]
        data = assemble(shape, layout, [*blocks[:-1], encode_block(filled, layout)])
        assert np.array_equal(read_image(data).pixels, radiograph(96)), (compression, rows)


JPEG = encode(".jpg", radiograph(200))


def jpeg_damage():
    start = JPEG.index(b"\xff\xda") + 10
    size = len(JPEG) - start - 2
    for share in (0.1, 0.4, 0.8):
        at = start + int(share * size)
        yield f"zeros {share}", JPEG[:at] + bytes(40) + JPEG[at + 40 :]
        yield f"noise {share}", JPEG[:at] + RNG.bytes(40).replace(b"\xff", b"") + JPEG[at + 40 :]
        yield f"removed {share}", JPEG[:at] + JPEG[at + 40 :]
        yield f"added {share}", JPEG[:at] + JPEG[at - 40 : at] + JPEG[at:]
    restarts = encode(".jpg", radiograph(200), cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    yield "restart out of order", restarts.replace(b"\xff\xd1", b"\xff\xd5", 1)
    table = JPEG.index(b"\xff\xc4")
    yield "codes of no length", JPEG[: table + 5] + bytes(16) + JPEG[table + 21 :]
    yield "too many codes", JPEG[: table + 5] + b"\xff" * 16 + JPEG[table + 21 :]
    lengths = JPEG[table + 21 : table + 33]
    yield "codes swapped", JPEG[: table + 21] + lengths[::-1] + JPEG[table + 33 :]


def test_jpegs_that_libjpeg_complains_of_are_refused(capfd):
    read = [name for name, data in jpeg_damage() if not refusal(data)]
    # Some bytes decode to as many blocks as those that they replaced.
    assert {name.split()[0] for name in read} <= {"zeros", "noise"}
    assert len(read) <= 3
    assert len(list(jpeg_damage())) == 16
    assert capfd.readouterr().err == ""


def encapsulated(stream, syntax, stored, bits):
    """A DICOM file of one compressed frame."""
    import pydicom
    from pydicom.encaps import encapsulate

    item = pydicom.dcmread(io.BytesIO(dicom(stored, BitsStored=bits, HighBit=bits - 1)))
    if stored.dtype == np.uint8:
        item.BitsAllocated = 8
    item.PixelData = encapsulate([stream])
    item["PixelData"].VR = "OB"
    item["PixelData"].is_undefined_length = True
    item.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, item, enforce_file_format=True)
    return file.getvalue()


def codestreams():
    shallow, deep = radiograph(200), radiograph(200, 12)
    return {
        "1.2.840.10008.1.2.4.50": (imagecodecs.jpeg8_encode(shallow, level=90), shallow, 8),
        "1.2.840.10008.1.2.4.70": (imagecodecs.ljpeg_encode(deep, bitspersample=16), deep, 12),
        "1.2.840.10008.1.2.4.80": (imagecodecs.jpegls_encode(deep), deep, 12),
    }


def bad_scans():
    for syntax, (stream, stored, bits) in codestreams().items():
        assert not refusal(encapsulated(stream, syntax, stored, bits))
        middle = len(stream) // 2
        for bad in (
            stream[:middle] + bytes(60) + stream[middle + 60 :],
            stream[:middle] + stream[middle + 60 :],
        ):
            yield encapsulated(bad, syntax, stored, bits)


def test_codestreams_that_a_codec_complains_of_are_refused(capfd):
    messages = [refusal(data) for data in bad_scans()]
    assert len(messages) == 6
    # Older codecs decode some of them, silently, to values that the file cannot hold.
    assert all(message.startswith(("damaged DICOM", "DICOM with ")) for message in messages), (
        messages
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("level", [0, 6])  # silent, verbose
def test_the_answer_does_not_depend_on_the_log_of_opencv(level, capfd):
    files = [data for _, data in jpeg_damage()]
    for compression, bits in itertools.product(COMPRESSIONS, (8, 16)):
        shape, layout, blocks = stored_blocks(compression, bits, {"strip_rows": 7})
        files += [
            assemble(shape, layout, [blocks[0], bad, *blocks[2:]])
            for bad in (blocks[1], *dict(damaged(blocks[1])).values())
        ]
    before = [refusal(data) for data in files]
    # OpenCV 5 has no function of its own for it, OpenCV 4 no module.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    usual = set_level(level)
    try:
        assert [refusal(data) for data in files] == before
    finally:
        set_level(usual)
    assert capfd.readouterr().err == ""


def test_what_is_refused_here_is_refused_in_the_sandbox(capfd):
    shape, layout, blocks = stored_blocks(5, 8, {"strip_rows": 7})
    strip = assemble(shape, layout, [blocks[0], bytes(len(blocks[1])), *blocks[2:]])
    files = [strip, dict(jpeg_damage())["removed 0.4"], *bad_scans()]
    with SandboxedReader() as reader:
        for data in files:
            # Behind these words may stand values that are decoded from memory nobody wrote.
            assert refusal(data, reader)[:45] == refusal(data)[:45] != ""
    assert capfd.readouterr().err == ""
