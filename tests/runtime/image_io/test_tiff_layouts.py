"""Every TIFF layout that is read gives the samples that tifffile reads; others are named."""

import io
import itertools
from dataclasses import replace

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.tiff.pixels import decode_tiff
from tests.helpers.image_files.tiff import TiffLayout, assemble, encode_tiff

HEIGHT, WIDTH = 71, 61  # odd, and no multiple of a tile
RNG = np.random.default_rng(0)

BITS = (1, 2, 4, 8, 10, 12, 14, 16)
# Photometric interpretation, samples, kind of the extra samples.
CONTENTS = (
    *((0, 1, ()), (1, 1, ()), (1, 2, (0,)), (1, 2, (1,)), (1, 2, (2,)), (0, 3, (0, 0))),
    *((2, 3, ()), (2, 4, (1,)), (2, 4, (2,)), (3, 1, ())),
)
BLOCKS = ({}, {"strip_rows": 7}, {"block": (32, 48)})
STRIDE = 11  # of the grid; prime to the length of each of its axes


def picture(bits, samples=1):
    """A bright shaft; all channels are alike up to 1 % from 8 bits, alpha is random."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shaft = 0.3 + 0.2 * np.sin(y / 17) + 0.5 * np.exp(-(((x - WIDTH / 2) / 8) ** 2))
    noise = RNG.uniform(-0.005, 0.005, (HEIGHT, WIDTH, samples)) * (bits >= 8)
    values = np.clip(shaft[..., None] + noise, 0, 1)
    if samples in (2, 4):
        values[..., -1] = RNG.random((HEIGHT, WIDTH))
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def grid():
    axes = (BITS, CONTENTS, (1, 5, 8, 32946, 32773), (1, 2), (1, 2), "<>", (1, 2), BLOCKS)
    for bits, content, compression, predictor, planar, order, fill, block in itertools.product(
        *axes
    ):
        photometric, samples, extra = content
        layout = TiffLayout(bits, photometric, compression, predictor, planar, order, fill)
        if (predictor == 2 and (bits not in (8, 16) or compression in (1, 32773))) or (
            photometric == 3 and (bits > 8 or predictor == 2)
        ):
            continue
        colours = RNG.integers(0, 65536, 3 * 2**bits) if photometric == 3 else ()
        yield samples, replace(layout, extra=extra, colour_map=tuple(map(int, colours)), **block)


def expected(data, layout, samples):
    """What tifffile reads, in the order of OpenCV, without extra samples."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        stored = file.pages[0].asarray()
    if samples == 1:
        stored = stored[..., None]
    elif layout.planar == 2:
        stored = np.moveaxis(stored, 0, -1)
    stored = stored.astype(np.uint16)
    if layout.photometric == 3:
        colours = np.array(layout.colour_map).reshape(3, -1).T >> 8
        return colours[stored[..., 0]][..., ::-1]
    if layout.photometric == 0:
        stored = 2**layout.bits - 1 - stored
    if layout.bits < 8:
        stored = stored * (255 // (2**layout.bits - 1))
    return stored[..., 2::-1] if layout.photometric == 2 else stored[..., 0]


@pytest.mark.slow
def test_the_grid_of_layouts_is_read_as_tifffile_reads_it():
    read = 0
    for samples, layout in itertools.islice(grid(), 0, None, STRIDE):
        data = encode_tiff(picture(layout.bits, samples), layout)
        decoded, has_extra = decode_tiff(data)
        assert np.array_equal(decoded, expected(data, layout, samples)), layout
        assert has_extra == bool(layout.extra), layout
        if layout.photometric != 3:  # a palette of any colours is no radiograph
            radiograph = read_image(data)
            assert radiograph.pixels.shape == (HEIGHT, WIDTH)
            assert radiograph.source_bits == layout.bits
            assert ("alpha channel dropped" in radiograph.notes) == has_extra
        read += 1
    assert read > 600


def test_the_orientation_tag_is_ignored_at_every_depth():
    for bits, orientation in itertools.product((1, 8, 12, 16), range(1, 9)):
        samples = picture(bits)
        tags = ((274, "H", (orientation,)),)
        turned = encode_tiff(samples, TiffLayout(bits, tags=tags, strip_rows=9))
        upright = encode_tiff(samples, TiffLayout(bits))
        assert np.array_equal(read_image(turned).pixels, read_image(upright).pixels)


def test_alpha_of_any_kind_changes_no_pixel_at_any_depth():
    for bits, kind, planar in itertools.product((8, 12, 16), (0, 1, 2), (1, 2)):
        samples = picture(bits, 2)
        layout = TiffLayout(bits, planar=planar, extra=(kind,))
        read = read_image(encode_tiff(samples, layout))
        alone = read_image(encode_tiff(samples[..., :1], TiffLayout(bits)))
        assert np.array_equal(read.pixels, alone.pixels)
        assert read.notes == ("alpha channel dropped", *alone.notes)


def test_packed_samples_are_windowed_as_in_sixteen_bits():
    for bits in (9, 10, 11, 12, 13, 14, 15):
        samples = picture(bits)
        packed = read_image(encode_tiff(samples, TiffLayout(bits, compression=5)))
        plain = read_image(encode_tiff(samples, TiffLayout(16)))
        assert np.array_equal(packed.pixels, plain.pixels)
        assert packed.source_bits == bits
        assert packed.notes[0].startswith(f"{bits} bits windowed to 8 from ")


def test_a_photograph_in_packed_bits_is_told_by_its_colours():
    samples = picture(12, 3)
    samples[20:60, :, 0] //= 2
    with pytest.raises(InputError, match=r"^colour image"):
        read_image(encode_tiff(samples, TiffLayout(12, photometric=2)))


def test_a_grey_palette_in_eight_or_sixteen_bits_is_applied():
    levels = tuple(range(255, -1, -1)) * 3
    samples = picture(8)
    for factor in (1, 256, 257):
        colours = tuple(level * factor for level in levels)
        layout = TiffLayout(photometric=3, compression=8, colour_map=colours)
        read = read_image(encode_tiff(samples, layout))
        assert np.array_equal(read.pixels, 255 - samples[..., 0])


def libtiff_files():
    """Files of Pillow's libtiff and of tifffile: name, bytes, samples."""
    import PIL.Image

    grey, deep = picture(8)[..., 0], picture(16)[..., 0]
    for name, compression in itertools.product(
        ("8", "16", "RGBA"), (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
    ):
        pixels = {"8": grey, "16": deep, "RGBA": np.dstack([grey] * 3 + [picture(8, 2)[..., 1]])}
        file = io.BytesIO()
        PIL.Image.fromarray(pixels[name]).save(file, "TIFF", compression=compression)
        yield file.getvalue(), grey if name == "RGBA" else pixels[name]
    for pixels, options in itertools.product(
        (grey, deep),
        (
            {"compression": "lzw", "predictor": True},
            {"compression": "zlib", "tile": (32, 16), "predictor": True},
            {"compression": "packbits", "rowsperstrip": 3},
            {"byteorder": ">", "photometric": "miniswhite"},
            {"description": "somebody", "subifds": 1},
        ),
    ):
        file = io.BytesIO()
        with tifffile.TiffWriter(file, byteorder=options.pop("byteorder", None)) as writer:
            writer.write(pixels, **({"photometric": "minisblack"} | options))
            if "subifds" in options:  # a smaller copy
                writer.write(pixels[::2, ::2], photometric="minisblack", subfiletype=1)
        inverted = options.get("photometric") == "miniswhite"
        yield file.getvalue(), np.iinfo(pixels.dtype).max - pixels if inverted else pixels


def test_files_of_other_writers_are_read():
    count = 0
    for data, samples in libtiff_files():
        decoded, _ = decode_tiff(data)
        decoded = decoded[..., 0] if decoded.ndim == 3 else decoded
        assert np.array_equal(decoded, samples)
        assert read_image(data).pixels.shape == (HEIGHT, WIDTH)
        count += 1
    assert count == 25


@pytest.mark.parametrize("order", "<>")
def test_smaller_copies_and_masks_after_the_picture_are_passed_over(order):
    pixels = picture(16)[..., 0]
    for kinds, is_read in (((1,), True), ((1, 1, 4), True), ((0,), False), ((1, 2), False)):
        file = io.BytesIO()
        with tifffile.TiffWriter(file, byteorder=order) as writer:
            writer.write(pixels, photometric="minisblack")
            for kind in kinds:
                other = pixels > 20_000 if kind == 4 else pixels[::2, ::2]
                writer.write(other, photometric="minisblack", subfiletype=kind)
        if is_read:
            assert np.array_equal(decode_tiff(file.getvalue())[0], pixels)
            continue
        with pytest.raises(InputError, match="several pages"):
            read_image(file.getvalue())


def test_jpeg_strips_and_tiles_are_read_as_tifffile_reads_them():
    grey = picture(8)[..., 0]
    count = 0
    for pixels, photometric in ((grey, "minisblack"), (np.dstack([grey] * 3), "rgb")):
        for block in ({"rowsperstrip": 16}, {"tile": (32, 48)}, {"rowsperstrip": HEIGHT}):
            file = io.BytesIO()
            tifffile.imwrite(
                file, pixels, compression="jpeg", photometric=photometric, **block, byteorder=">"
            )
            stored = tifffile.imread(io.BytesIO(file.getvalue()))
            read = read_image(file.getvalue())
            # Both use libjpeg; a colour is converted to grey with weights that add up to 1.
            wanted = stored if stored.ndim == 2 else cv2.cvtColor(stored, cv2.COLOR_RGB2GRAY)
            assert np.array_equal(read.pixels, wanted)
            count += 1
    assert count == 6


def lzw_codes(codes):
    """Codes of 9 bits as bytes."""
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("rows", [2, 3, 71])  # even and odd numbers of bytes
def test_lzw_strips_that_end_in_unusual_ways_are_read(rows):
    samples = picture(8)
    layout = TiffLayout(compression=5, strip_rows=rows)
    strips = [samples[row : row + rows].tobytes() for row in range(0, HEIGHT, rows)]
    whole = [imagecodecs.lzw_encode(strip) for strip in strips]
    endings = {
        "two bytes of padding": [strip + b"\0\0" for strip in whole],
        "a byte after the end": [strip + b"\x2a" for strip in whole],
        "no end code": [without_end(strip) for strip in whole],
        "no compression": [
            lzw_codes(
                code for at in range(0, len(strip), 100) for code in (256, *strip[at : at + 100])
            )
            for strip in strips
        ],
    }
    for name, stored in endings.items():
        read = read_image(assemble(samples.shape, layout, stored))
        assert np.array_equal(read.pixels, samples[..., 0]), name


def test_lzw_with_the_lowest_bit_first_is_named():
    samples = picture(8)
    strip = samples.tobytes()
    codes = [c for at in range(0, len(strip), 100) for c in (256, *strip[at : at + 100])]
    value = sum(code << 9 * at for at, code in enumerate([*codes, 257]))
    stored = value.to_bytes(9 * len(codes) // 8 + 3, "little")
    data = assemble(samples.shape, TiffLayout(compression=5), [stored])
    with pytest.raises(InputError, match="LZW compression of before 1992"):
        read_image(data)


def test_jpeg_strips_in_rgb_are_not_taken_for_ycbcr():
    colours = np.repeat(picture(8), 3, axis=2) // 2
    colours[..., 0] += 12
    stored = imagecodecs.jpeg8_encode(colours, level=100, outcolorspace="RGB")
    layout = TiffLayout(photometric=2, compression=7)
    decoded, _ = decode_tiff(assemble(colours.shape, layout, [stored]))
    # At quality 100 the coefficients are rounded to integers: an error of 2 at most.
    assert np.abs(decoded[..., ::-1].astype(int) - colours).max() <= 2


def test_a_damaged_jpeg_strip_is_refused(capfd):
    grey = picture(8)
    stored = imagecodecs.jpeg8_encode(grey[..., 0], level=90)
    layout = TiffLayout(compression=7)
    read_image(assemble(grey.shape, layout, [stored]))
    middle = len(stored) // 2
    for bad, words in (
        (stored[:middle] + stored[middle + 40 :], "its decoder reports 'Corrupt JPEG data"),
        (stored[:middle], "truncated JPEG"),
        (imagecodecs.jpeg8_encode(grey[:-9, :, 0]), "differs in size from its tags"),
    ):
        with pytest.raises(InputError, match=words):
            read_image(assemble(grey.shape, layout, [bad]))
    assert capfd.readouterr().err == ""


def without_end(strip):
    """Remove the last 1 and what follows it, with the eight bits before it: the end code."""
    bits = f"{int.from_bytes(strip, 'big'):b}".zfill(8 * len(strip))
    bits = bits[: bits.rindex("1") - 8]
    bits = bits.rstrip("0") if len(bits) % 8 == 0 else bits
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def test_strips_without_their_lengths_are_read_where_nothing_is_compressed():
    samples = picture(16)
    data = bytearray(encode_tiff(samples, TiffLayout(16)))
    at = data.index(b"\x17\x01\x04\0\1\0\0\0")
    data[at + 8 : at + 12] = bytes(4)
    assert np.array_equal(decode_tiff(bytes(data))[0], samples[..., 0])
    read_image(bytes(data))


REFUSED = {
    **{
        f"compression {number}": ({"tags": ((259, "H", (number,)),)}, f"compression .*{number}")
        for number in (2, 3, 4, 6, 9, 34676, 34712, 34887, 34925, 50000, 50001, 60123)
    },
    **{
        f"photometric {number}": ({"photometric": number, "samples": samples}, words)
        for number, samples, words in (
            (4, 1, "transparency mask"),
            (5, 4, "CMYK"),
            (6, 3, "YCbCr"),
            (8, 3, r"CIE L\*a\*b\*"),
            (32803, 1, "colour filter array"),
            (34892, 3, "raw linear"),
            (777, 1, "unknown kind 777"),
        )
    },
    "predictor 3": ({"compression": 8, "tags": ((317, "H", (3,)),)}, "predictor 3"),
    "differences of 4 bits": (
        {"bits": 4, "compression": 8, "tags": ((317, "H", (2,)),)},
        "predictor 2 at 4 bits",
    ),
    "differences in PackBits": (  # libtiff takes them for samples, tifffile adds them up
        {"compression": 32773, "tags": ((317, "H", (2,)),)},
        "predictor in PackBits",
    ),
    "a copy before its picture": (
        {"tags": ((254, "I", (1,)), (330, "I", (8,)))},
        "first page is a smaller copy",
    ),
    "signed": ({"tags": ((339, "H", (2,)),)}, "signed or floating-point"),
    "float": ({"bits": 16, "tags": ((339, "H", (3,)),)}, "signed or floating-point"),
    "32 bits": ({"tags": ((258, "H", (32,)),)}, "of 32 bits"),
    "samples that differ": (
        {"samples": 3, "photometric": 2, "tags": ((258, "H", (8, 8, 16)),)},
        "differ in their bits",
    ),
    "five samples": ({"tags": ((277, "H", (5,)),)}, "5 samples"),
    "colour of one sample": ({"photometric": 2}, "do not fit its colours"),
    "palette of 16 bits": ({"bits": 16, "photometric": 3}, "palette of over 8 bits"),
    "no palette": ({"photometric": 3}, "palette is missing"),
    "stack of ImageJ": (
        {"tags": ((270, "B", tuple(b"ImageJ=1.53\nimages=4\nslices=4\n")),)},
        "several pages",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_layouts_are_refused_from_the_header_and_named(name):
    options, words = REFUSED[name]
    options = dict(options)
    samples = options.pop("samples", 1)
    data = encode_tiff(picture(options.get("bits", 8), samples), TiffLayout(**options))
    with pytest.raises(InputError, match=words) as caught:
        read_image(data)
    message = str(caught.value)
    assert message.startswith(("TIFF ", "damaged TIFF: its palette"))
    assert len(message.splitlines()) == 1


def test_twelve_bits_that_are_not_packed_are_refused():
    data = encode_tiff(picture(16), TiffLayout(16, tags=((258, "H", (12,)),)))
    with pytest.raises(InputError, match="TIFF of 12 bits that are not packed"):
        read_image(data)


def test_a_file_that_does_not_say_whether_black_is_zero_is_refused():
    data = encode_tiff(picture(8), TiffLayout())
    data = data.replace(b"\x06\x01\x03\0\1\0\0\0", b"\x07\x01\x03\0\1\0\0\0")
    with pytest.raises(InputError, match="whether black is 0"):
        read_image(data)


@pytest.mark.parametrize("order", "<>")
def test_big_tiff_is_named(order):
    file = io.BytesIO()
    tifffile.imwrite(file, picture(8)[..., 0], bigtiff=True, byteorder=order)
    with pytest.raises(InputError, match="a BigTIFF file"):
        read_image(file.getvalue())
