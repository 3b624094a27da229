"""Every PNG, BMP and JPEG layout that is read gives the samples that Pillow reads or that were
written; others are named."""

import io
import itertools
import struct

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.image_files.png_bmp import bmp, png

HEIGHT, WIDTH = 71, 61
RNG = np.random.default_rng(0)


def picture(bits, samples=1):
    """A bright shaft; all channels are equal, the last of 2 or 4 is random."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shaft = 0.3 + 0.2 * np.sin(y / 17) + 0.5 * np.exp(-(((x - WIDTH / 2) / 8) ** 2))
    values = np.repeat(np.clip(shaft, 0, 1)[..., None], samples, axis=2)
    if samples in (2, 4):
        values[..., -1] = RNG.random((HEIGHT, WIDTH))
    return np.rint(values * (2**bits - 1)).astype(np.uint16)


def windowed(samples):
    """Percentiles 0.5 to 99.5 to 0 to 255, as `read_image` promises."""
    low, high = np.percentile(samples, (0.5, 99.5), method="inverted_cdf").astype(float)
    return np.clip(np.rint((samples - low) * 255 / (high - low)), 0, 255)


PNG_COLOURS = ((0, 1), (2, 3), (3, 1), (4, 2), (6, 4))  # colour type, samples
DESCRIBED = [
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", *range(30000, 30008))),
    (b"pHYs", bytes(9)),
]


def png_grid():
    for (colour, samples), bits, interlaced, is_described, is_transparent in itertools.product(
        PNG_COLOURS, (1, 2, 4, 8, 16), (False, True), (False, True), (False, True)
    ):
        too_few = colour in (2, 4, 6) and bits < 8
        if too_few or (colour == 3 and bits == 16) or (is_transparent and colour >= 4):
            continue
        chunks = list(DESCRIBED) if is_described else []
        if is_described and colour != 3:
            chunks.append((b"sBIT", bytes((max(1, bits - 1),)) * samples))
        stored = picture(bits, samples)
        levels = np.rint(np.arange(2**bits) * 255 / (2**bits - 1))[::-1]
        if colour == 3:
            chunks.append((b"PLTE", np.repeat(levels.astype(np.uint8), 3).tobytes()))
        if is_transparent:
            values = bytes(range(2**bits)) if colour == 3 else bytes(2 * samples)
            chunks.append((b"tRNS", values))
        wanted = stored[..., 0]
        if colour == 3:
            wanted = levels[wanted]
        elif bits == 16:
            wanted = windowed(wanted)
        else:
            wanted = wanted * (255 // (2**bits - 1))
        yield png(stored, bits, colour, interlaced, chunks), wanted, (colour, bits, interlaced)


def test_every_png_is_read_as_it_was_written():
    count = 0
    for data, wanted, layout in png_grid():
        assert np.array_equal(read_image(data).pixels, wanted), layout
        count += 1
    assert count == 104


def test_every_png_of_eight_bits_is_read_as_pillow_reads_it():
    count = 0
    for data, _, layout in png_grid():
        if layout[1] == 16:
            continue
        image = PIL.Image.open(io.BytesIO(data))
        wanted = np.asarray(image.convert("RGBA"))[..., 0]
        assert np.array_equal(read_image(data).pixels, wanted), layout
        count += 1
    assert count == 80


STANDARD = (0xFF0000, 0xFF00, 0xFF)


def bmp_grid():
    """Data and layout: bits, bytes of the header, whether the first row is on top, masks."""
    levels = {bits: np.rint(np.arange(2**bits) * 255 / (2**bits - 1))[::-1] for bits in (1, 4, 8)}
    masks = {
        16: ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)),
        32: ((), STANDARD, (0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)),
    }
    for bits, header, top_down in itertools.product(
        (1, 4, 8, 16, 24, 32), (12, 40, 52, 56, 108, 124), (False, True)
    ):
        if header == 12 and (top_down or bits in (16, 32)):
            continue
        for mask in masks.get(bits, ((),)):
            palette = None
            samples = picture(8, 4 if bits == 32 else 3)
            if bits in levels:
                samples, palette = picture(bits), np.repeat(levels[bits][:, None], 3, axis=1)
            elif mask:
                samples = sum(
                    (
                        picture(value.bit_count()).astype(np.uint32)
                        << (value & -value).bit_length() - 1
                    )
                    for value in mask
                )
            data = bmp(samples, bits, palette, header, top_down, mask)
            yield data, (bits, header, top_down, mask)


def test_every_bmp_is_read_as_pillow_reads_it_or_named():
    read = refused = 0
    for data, layout in bmp_grid():
        bits, header, _, mask = layout
        if bits == 16 or (mask and mask != STANDARD) or (bits > 8 and header == 12):
            with pytest.raises(InputError, match=r"unusual layout .* save it as PNG"):
                read_image(data)
            refused += 1
            continue
        wanted = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))[..., 0]
        assert np.array_equal(read_image(data).pixels, wanted), layout
        read += 1
    assert (read, refused) == (63, 41)


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def jpeg_grid():
    grey = PIL.Image.fromarray(picture(8)[..., 0].astype(np.uint8))
    colour = grey.convert("RGB")
    for quality, options in itertools.product(
        (20, 60, 95),
        (
            *({}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}),
            *({"restart_marker_rows": 1, "progressive": True}, {"icc_profile": bytes(3000)}),
            {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
        ),
    ):
        data = jpeg(grey, quality=quality, **options)
        yield data, (quality, options)
        frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
        for sampling in (0x12, 0x21, 0x22, 0x41):  # without meaning for a single component
            yield data[: frame + 11] + bytes((sampling,)) + data[frame + 12 :], (sampling, options)
        for subsampling in (0, 1, 2):
            yield jpeg(colour, quality=quality, subsampling=subsampling, **options), options
        yield jpeg(colour, quality=quality, keep_rgb=True, **options), options
    for space in ("RGB", "YCBCR"):
        yield imagecodecs.jpeg8_encode(np.asarray(colour), outcolorspace=space), space


def test_every_jpeg_is_read_as_pillow_reads_it():
    count = 0
    for data, layout in jpeg_grid():
        image = PIL.Image.open(io.BytesIO(data))
        wanted = np.asarray(image.convert("L"), int)
        read = read_image(data).pixels.astype(int)
        # Decoders may differ by 1 in the inverse cosine transform (ITU-T T.83), and by 1 more in
        # the weights that turn colour into grey.
        assert np.abs(read - wanted).max() <= 2, layout
        count += 1
    assert count == 191


def cmyk(mode):
    grey = picture(8)[..., 0].astype(np.uint8)
    inks = np.dstack([255 - grey, 255 - grey, 255 - grey, np.zeros_like(grey)])
    return imagecodecs.jpeg8_encode(inks, colorspace="CMYK", outcolorspace=mode)


def with_frame(marker):
    data = jpeg(PIL.Image.fromarray(picture(8)[..., 0].astype(np.uint8)))
    return data.replace(b"\xff\xc0", bytes((0xFF, marker)), 1)


def test_other_jpegs_are_refused_from_the_header_and_named():
    cases = {
        "CMYK": (cmyk("CMYK"), "4 components, such as CMYK"),
        "YCCK": (cmyk("YCCK"), "4 components, such as CMYK"),
        "JPEG-LS": (imagecodecs.jpegls_encode(picture(8)[..., 0].astype(np.uint8)), "JPEG-LS"),
        "lossless": (imagecodecs.ljpeg_encode(picture(8)[..., 0].astype(np.uint8)), "lossless"),
        **{f"SOF{n}": (with_frame(0xC0 + n), "several frames") for n in (5, 6, 9, 10, 13, 14)},
        "12 bits": (
            with_frame(0xC1).replace(b"\x00\x0b\x08", b"\x00\x0b\x0c", 1),
            "12 bits per sample",
        ),
    }
    for data, words in cases.values():
        with pytest.raises(InputError, match=words):
            read_image(data)
    assert len(cases) == 11


def test_oddities_that_change_no_pixel_are_read(capfd):
    grey = PIL.Image.fromarray(picture(8)[..., 0].astype(np.uint8))
    plain = jpeg(grey, quality=90)
    wanted = read_image(plain).pixels
    scan = plain.index(b"\xff\xda")
    assert plain[scan + 7 : scan + 10] == bytes((0, 63, 0))
    odd = {
        "extended": plain.replace(b"\xff\xc0", b"\xff\xc1", 1),
        "parameters of a progressive scan": plain[: scan + 8] + b"\0" + plain[scan + 9 :],
        "version of JFIF": plain.replace(b"JFIF\0\1", b"JFIF\0\7", 1),
        "profile of two parts": plain[:2] + b"\xff\xe2\0\x10ICC_PROFILE\0\2\3" + plain[2:],
        "EXIF of nothing": plain[:2] + b"\xff\xe1\0\x0cExif\0\0noth" + plain[2:],
    }
    for name, data in odd.items():
        assert data != plain
        read = read_image(data)
        assert np.array_equal(read.pixels, wanted), name
        assert read.notes == ()
    assert capfd.readouterr().err == ""
