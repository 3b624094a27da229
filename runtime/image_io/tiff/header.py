"""Layout and completeness of a TIFF file, from its tags (TIFF 6.0)."""

from __future__ import annotations

import enum
import operator
import re
from dataclasses import dataclass

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import MAX_CHANNELS, Header
from orthoedge.runtime.image_io.tiff.tags import (
    DESCRIPTION,
    JPEG_TABLES,
    Tag,
    holds_copies,
    read_tags,
)


class Compression(enum.IntEnum):
    """Compressions that are read."""

    NONE = 1
    LZW = 5
    JPEG = 7
    DEFLATE = 8
    OLD_DEFLATE = 32946
    PACKBITS = 32773


class Photometric(enum.IntEnum):
    """Meanings of a sample that are read."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    YCBCR = 6


_LARGE_TILE = 2**22  # pixels; a tile may reach beyond a small picture
_PREDICTED = (Compression.LZW, Compression.DEFLATE, Compression.OLD_DEFLATE)
_REMEDY = "save it uncompressed or with LZW or deflate compression"
_OTHER_COMPRESSIONS = {
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    6: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34933: "PNG",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}
_OTHER_PHOTOMETRICS = {
    4: "a transparency mask",
    5: "CMYK",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a colour filter array",
    32844: "logarithmic",
    32845: "logarithmic",
    34892: "raw linear",
}


@dataclass(frozen=True)
class Layout:
    """The tags of a TIFF file that its pixels depend on, checked to be ones that are read."""

    order: str
    """`<` or `>`."""
    width: int
    """Columns, in pixels."""
    height: int
    """Rows, in pixels."""
    bits: int
    """Bits per sample, 1 to 16; other than 8 and 16 they are packed without gaps."""
    samples: int
    """Samples per pixel, 1 to 4."""
    photometric: Photometric
    compression: Compression
    is_planar: bool
    """Each sample has strips or tiles of its own."""
    has_differences: bool
    """Predictor 2: each sample is stored as the difference to its left neighbour."""
    has_reversed_bits: bool
    """Fill order 2."""
    block: tuple[int, int]
    """Rows and columns of a strip or tile."""
    is_tiled: bool
    """Blocks at the right and lower edge are filled up."""
    offsets: tuple[int, ...]
    """Of each strip or tile; planes one after another."""
    lengths: tuple[int, ...]
    """Bytes of each strip or tile; may be missing without compression."""
    colour_map: tuple[int, ...]
    """Red, then green, then blue of each value, in 16 bits; empty without a palette."""
    jpeg_tables: bytes
    """Tables that all strips or tiles in JPEG compression share, or empty."""

    @property
    def picture_samples(self) -> int:
        """Samples per pixel without alpha."""
        return 3 if self.photometric in (Photometric.RGB, Photometric.YCBCR) else 1

    @property
    def block_samples(self) -> int:
        """Samples per pixel inside a strip or tile."""
        return 1 if self.is_planar else self.samples

    @property
    def across(self) -> int:
        """Strips or tiles side by side."""
        return -(-self.width // self.block[1])

    @property
    def down(self) -> int:
        """Strips or tiles one below the other."""
        return -(-self.height // self.block[0])

    def rows(self, row: int) -> int:
        """Rows stored in each block of a row of blocks."""
        return self.block[0] if self.is_tiled else min(self.block[0], self.height - row)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile, decompressed."""
        return (self.block[1] * self.block_samples * self.bits + 7) // 8


def tiff_header(data: bytes) -> Header:
    """Read the header of a TIFF file of one page.

    Raises:
        InputError: impossible tags, or a layout that is not read.
        struct.error: the file ends inside its header.
    """
    layout = read_layout(data)
    is_grey = layout.photometric in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO)
    rows, columns = layout.block
    is_plain = layout.compression == Compression.NONE
    block = 0 if is_plain else rows * columns * layout.block_samples
    channels = 1 if is_grey else 3
    return Header("TIFF", layout.width, layout.height, layout.bits, channels, block)


def read_layout(data: bytes) -> Layout:
    """Read the layout of a TIFF file of one page; raises as `tiff_header`."""
    tags, texts, following = read_tags(data)
    images = re.search(rb"^images=(\d+)", texts[DESCRIPTION], re.MULTILINE)
    is_stack = texts[DESCRIPTION].startswith(b"ImageJ=") and images and int(images[1]) > 1
    if is_stack or not holds_copies(data, following):
        raise InputError("TIFF with several pages; expected one radiograph per file")
    if Tag.WIDTH not in tags or Tag.HEIGHT not in tags:
        raise InputError("damaged TIFF: no image size in header")

    def value(tag: Tag, default: int) -> int:
        return tags.get(tag, (default,))[0]

    samples = value(Tag.SAMPLES, 1)
    bits = _check_samples(samples, tags.get(Tag.BITS, (1,)), tags.get(Tag.SAMPLE_FORMAT, (1,)))
    compression = _check_compression(value(Tag.COMPRESSION, 1), bits)
    photometric = _check_photometric(tags.get(Tag.PHOTOMETRIC), samples, bits, compression)
    colour_map = tags.get(Tag.COLOUR_MAP, ()) if photometric == Photometric.PALETTE else ()
    if photometric == Photometric.PALETTE and len(colour_map) != 3 * 2**bits:
        raise InputError("damaged TIFF: its palette is missing or of the wrong length")
    predictor = value(Tag.PREDICTOR, 1)
    if compression == Compression.PACKBITS and predictor != 1:
        # libtiff takes the samples as they are, tifffile as differences.
        raise InputError(
            "TIFF with a predictor in PackBits compression, which is ambiguous; save "
            "it without a predictor"
        )
    predictor = predictor if compression in _PREDICTED else 1
    if predictor not in (1, 2) or (predictor == 2 and bits not in (8, 16)):
        raise InputError(f"TIFF with predictor {predictor} at {bits} bits; {_REMEDY}, no predictor")
    width, height = value(Tag.WIDTH, 0), value(Tag.HEIGHT, 0)
    is_tiled = Tag.TILE_WIDTH in tags and Tag.TILE_HEIGHT in tags
    if is_tiled:
        block = value(Tag.TILE_HEIGHT, 0), value(Tag.TILE_WIDTH, 0)
        if block[0] * block[1] > max(width * height, _LARGE_TILE):
            raise InputError("damaged TIFF: its tiles are larger than the picture")
    else:
        block = min(height, value(Tag.STRIP_ROWS, height)), width
    if width and height and not all(block):
        raise InputError("damaged TIFF: its strips or tiles have no size")
    in_tiles = is_tiled and Tag.TILE_OFFSETS in tags
    return Layout(
        order="<" if data[:2] == b"II" else ">",
        width=width,
        height=height,
        bits=bits,
        samples=samples,
        photometric=photometric,
        compression=compression,
        is_planar=samples > 1 and value(Tag.PLANAR, 1) == 2,
        has_differences=predictor == 2,
        has_reversed_bits=value(Tag.FILL_ORDER, 1) == 2,
        block=block,
        is_tiled=is_tiled,
        offsets=tags.get(Tag.TILE_OFFSETS if in_tiles else Tag.STRIP_OFFSETS, ()),
        lengths=tags.get(Tag.TILE_BYTES if in_tiles else Tag.STRIP_BYTES, ()),
        colour_map=colour_map,
        jpeg_tables=texts[JPEG_TABLES],
    )


def _check_samples(samples: int, bits: tuple[int, ...], formats: tuple[int, ...]) -> int:
    """Return the bits per sample."""
    if any(form not in (1, 4) for form in formats):  # 4: undefined, which means as for 1
        raise InputError("TIFF with signed or floating-point samples; expected unsigned integers")
    if not 1 <= max(bits) <= 16 or not 1 <= samples <= MAX_CHANNELS:
        raise InputError(
            f"TIFF with {samples} samples of {max(bits)} bits; expected 1 to 4 of up to 16"
        )
    if min(bits) != max(bits):
        raise InputError("TIFF whose samples differ in their bits; save it with 8 or 16 bits each")
    return bits[0]


def _check_compression(number: int, bits: int) -> Compression:
    try:
        compression = Compression(number)
    except ValueError:
        name = _OTHER_COMPRESSIONS.get(number, "an unknown")
        raise InputError(
            f"TIFF in {name} compression (number {number}), which is not read; {_REMEDY}"
        ) from None
    if compression == Compression.JPEG and bits != 8:
        raise InputError(f"TIFF in JPEG compression with {bits} bits; {_REMEDY}")
    return compression


def _check_photometric(
    numbers: tuple[int, ...] | None, samples: int, bits: int, compression: Compression
) -> Photometric:
    if numbers is None:
        raise InputError("TIFF that does not say whether black is 0 (no photometric tag)")
    try:
        photometric = Photometric(numbers[0])
    except ValueError:
        name = _OTHER_PHOTOMETRICS.get(numbers[0], f"of unknown kind {numbers[0]}")
        raise InputError(f"TIFF whose samples are {name}; save it as a grey picture") from None
    is_jpeg = compression == Compression.JPEG
    if photometric == Photometric.YCBCR and not is_jpeg:
        raise InputError("TIFF whose samples are YCbCr; save it as a grey picture")
    if photometric == Photometric.PALETTE and (bits > 8 or is_jpeg):
        raise InputError("TIFF with a palette of over 8 bits or in JPEG; save it as a grey picture")
    is_colour = photometric in (Photometric.RGB, Photometric.YCBCR)
    if (is_colour and samples < 3) or (is_jpeg and samples != (3 if is_colour else 1)):
        raise InputError(f"TIFF with {samples} samples per pixel, which do not fit its colours")
    return photometric


def check_tiff(data: bytes) -> None:
    """Check that every strip or tile of a TIFF file lies inside it.

    Raises:
        InputError: the file is cut or damaged.
        struct.error: the file ends inside its header.
    """
    layout = read_layout(data)
    count = layout.across * layout.down * (layout.samples if layout.is_planar else 1)
    if not layout.offsets:
        raise InputError("damaged TIFF: no pixel data")
    if len(layout.offsets) < count:
        raise InputError("truncated TIFF: its strips hold less than the picture")
    rows = [layout.rows(row * layout.block[0]) for row in range(layout.down)]
    needed = [
        layout.row_bytes * rows[index // layout.across % layout.down] for index in range(count)
    ]
    is_plain = layout.compression == Compression.NONE
    lengths = layout.lengths
    if is_plain and not any(lengths):  # left out by some programs
        lengths = tuple(needed)
    if len(lengths) < count:
        raise InputError("damaged TIFF: no pixel data")
    if any(at + length > len(data) for at, length in zip(layout.offsets, lengths, strict=False)):
        raise InputError("truncated TIFF: the file ends inside its pixel data")
    if is_plain and any(map(operator.lt, lengths, needed)):
        raise InputError("truncated TIFF: its strips hold less than the picture")
    if is_plain and 8 < layout.bits < 16:
        in_words = layout.block[0] * layout.block[1] * layout.block_samples * 2
        if lengths[0] >= in_words:
            raise InputError(
                f"TIFF of {layout.bits} bits that are not packed; save it with 16 bits per sample"
            )
