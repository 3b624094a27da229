"""Decoding of compressed DICOM pixels: by the codec found in the codestream, in a fixed order.

By default pydicom tries every installed decoder in turn, and a file that one refuses can make the
next abort the process. A decoder allocates by the header of the codestream and fills what a cut one
lacks with grey, so the codestream must be complete and match the DICOM header first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.codestream import STARTS, Codestream, read_codestream, read_rle
from orthoedge.runtime.dicom.elements import Elements
from orthoedge.runtime.dicom.encoding import CODECS, JPEG, RLE, unread_syntax
from orthoedge.runtime.dicom.header import SampleLayout
from orthoedge.runtime.errors import InputError, MissingDependency
from orthoedge.runtime.image_io.decoder_messages import decode_checked

# For each codec a syntax that pydicom knows the decoders of.
_SYNTAXES = {
    "JPEG": f"{JPEG}51",
    "JPEG lossless": f"{JPEG}70",
    "JPEG-LS": f"{JPEG}80",
    "JPEG 2000": f"{JPEG}90",
    "HTJ2K": f"{JPEG}201",
    "RLE": RLE,
}
# Syntaxes whose samples come back exactly, whatever the codec could do.
_LOSSLESS = frozenset(f"{JPEG}{n}" for n in (57, 70, 80, 90, 92, 201, 202))
_PART_2 = (f"{JPEG}92", f"{JPEG}93")
OVERLAY_BITS = tuple(group << 16 | 0x0102 for group in range(0x6000, 0x6020, 2))
"""Tags of OverlayBitPosition."""
_MORE = "damaged DICOM: its RLE image holds more than rows × columns"
_OVERSHOOT = 0.25  # of the range; a lossy codec exceeds it at sharp edges, by less


def check_frame(
    frame: bytes, layout: SampleLayout, syntax: str
) -> tuple[Codestream, tuple[str, ...]]:
    """Check that a frame holds one complete grey image of the size of the data set.

    Args:
        frame: content of all fragments.
        layout: as the data set states it.
        syntax: transfer syntax UID announced.

    Returns:
        The codestream, and a note if its codec is not the one announced.

    Raises:
        InputError: truncated, damaged, of another size, or in a transfer syntax that is not read.
    """
    announced = CODECS.get(syntax)
    size = layout.allocated // 8, layout.columns, layout.rows
    stream = read_codestream(frame) if frame.startswith(STARTS) else read_rle(frame, *size)
    if (stream.width, stream.height) != size[1:]:
        raise InputError("damaged DICOM: the compressed image differs in size from its header")
    if stream.channels != 1 or not 2 <= stream.bits <= layout.allocated:
        raise InputError(
            f"damaged DICOM: the compressed image has {stream.channels} × {stream.bits} bits a "
            f"pixel and differs in samples from its header, which has {layout.allocated}"
        )
    if stream.codec == announced:
        return stream, ()
    named = announced or "no compression"
    return stream, (f"the pixels are {stream.codec}, announced as {named}: read as found",)


def decode(
    stream: Codestream, layout: SampleLayout, elements: Elements, syntax: str
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Decode the stored values of a single-frame grey image.

    Args:
        stream: from `check_frame`.
        layout: of the samples once decoded.
        elements: of the file.
        syntax: transfer syntax UID announced.

    Returns:
        8- or 16-bit integers (Rows, Columns), in native byte order and of the sign that the data
        set states; and notes.

    Raises:
        InputError: no installed decoder reads it, or one reports damage and goes on; or its samples
            are not those of the data set.
        MissingDependency: no decoder is installed.
    """
    failed: list[str] = []
    cause: BaseException | None = None
    for _, package, function in _installed(stream.codec):
        try:
            stored = decode_checked("DICOM", partial(function, stream))
        except (InputError, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A panic in a decoder written in Rust is a BaseException.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            failed.append(package)
            cause = error
            continue
        notes = [f"decoded by {package}, after {' and '.join(failed)} failed"] if failed else []
        stored, note = _conform(stored, stream, layout, elements, syntax in _LOSSLESS)
        return stored, (*notes, *note)
    if syntax in _PART_2:  # its extensions, or damaged
        raise unread_syntax(syntax) from cause
    raise InputError(f"damaged DICOM: it cannot be decoded as {stream.codec}") from cause


def check_decoders() -> None:
    """Check that each codec has a decoder.

    Raises:
        MissingDependency: no decoder of one of them is installed, or pydicom.
    """
    try:
        for codec in _DECODERS:
            _installed(codec)
    except ImportError as error:
        raise MissingDependency("pydicom", "dicom", "reading DICOM files") from error


def _installed(codec: str) -> list[tuple[str, str, _Decoder]]:
    """Return the decoders of a codec that are installed, at least one."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    available = get_decoder(UID(_SYNTAXES[codec])).available_plugins
    decoders = [decoder for decoder in _DECODERS[codec] if decoder[0] in available]
    if not decoders:
        package = _DECODERS[codec][0][1]
        raise MissingDependency(package, "dicom", f"reading {codec} images")
    return decoders


def _gdcm(stream: Codestream) -> npt.NDArray[Any]:
    """Decode by GDCM itself: pydicom's plug-in refuses 12-bit JPEG, which GDCM reads."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream.data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.width, stream.height, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    syntax = gdcm.TransferSyntax.GetTSType(_SYNTAXES[stream.codec])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits, dtype = stream.bits, _dtype(stream)
    # GDCM picks one of three libjpegs by the bits allocated; the wrong one writes to stderr.
    allocated = 12 if stream.codec == "JPEG" and bits == 12 else 8 * dtype.itemsize
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, bits, bits - 1, int(stream.signed)))
    # GDCM's bytes come as str, of any encoding.
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(decoded, dtype).reshape(stream.height, stream.width)


def _openjpeg(stream: Codestream) -> npt.NDArray[Any]:
    from openjpeg.utils import decode_pixel_data

    decoded = decode_pixel_data(stream.data, version=2)
    return np.frombuffer(decoded, _dtype(stream)).reshape(stream.height, stream.width)


def _jpeg_ls(stream: Codestream) -> npt.NDArray[Any]:
    import jpeg_ls

    decoded, _ = jpeg_ls.decode_pixel_data(stream.data)
    return np.frombuffer(decoded, _dtype(stream)).reshape(stream.height, stream.width)


def _rle(stream: Codestream) -> npt.NDArray[Any]:
    from rle.rle import decode_frame  # type: ignore[import-not-found]
    from rle.utils import decode_pixel_data

    # It drops, or writes in other places, what is too much, and says only if there is too little.
    more = stream.width * stream.height + min(stream.width, stream.height)
    is_longer = True
    try:
        decode_frame(stream.data, more, stream.bits, "<")
    except ValueError:
        is_longer = False
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ != "PanicException":
            raise
    if is_longer:
        raise InputError(_MORE)
    size: dict[str, Any] = {"rows": stream.height, "columns": stream.width}
    size["bits_allocated"] = stream.bits
    decoded = decode_pixel_data(stream.data, version=2, **size)
    return np.frombuffer(decoded, _dtype(stream)).reshape(stream.height, stream.width)


def _rle_of_pydicom(stream: Codestream) -> npt.NDArray[Any]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    _check_runs(stream)
    options: dict[str, Any] = {
        "rows": stream.height,
        "columns": stream.width,
        "number_of_frames": 1,
        "bits_allocated": stream.bits,
        "bits_stored": stream.bits,
        "pixel_representation": 0,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
        "decoding_plugin": "pydicom",
        "raw": True,
    }
    decoded, _ = get_decoder(UID(RLE)).as_array(encapsulate([stream.data]), **options)
    return decoded


def _check_runs(stream: Codestream) -> None:
    """Refuse an RLE image of more rows or columns: pydicom drops what is too much."""
    segments, *starts = struct.unpack_from("<16I", stream.data)
    ends = (*starts[1:segments], len(stream.data))
    excess = min(map(partial(_run_length, stream.data), starts, ends))
    excess -= stream.width * stream.height
    # Up to that many bytes are padding, or what follows the only segment.
    if excess >= min(stream.width, stream.height):
        raise InputError(_MORE)


def _run_length(data: bytes, at: int, end: int) -> int:
    """Return how many bytes a segment decompresses to (PS3.5 G.3.2)."""
    length = 0
    while at + 1 < end:
        head = data[at]
        length += head + 1 if head < 128 else (257 - head) % 129
        at += 1 if head == 128 else head + 2 if head < 128 else 2
    return length


def _dtype(stream: Codestream) -> np.dtype[Any]:
    """Little-endian dtype of the decoded samples."""
    return np.dtype(f"<{'i' if stream.signed else 'u'}{1 if stream.bits <= 8 else 2}")


_Decoder = Callable[[Codestream], npt.NDArray[Any]]
_GDCM: tuple[str, str, _Decoder] = ("gdcm", "python-gdcm", _gdcm)
_OPENJPEG: tuple[str, str, _Decoder] = ("pylibjpeg", "pylibjpeg with pylibjpeg-openjpeg", _openjpeg)
# Plug-in of pydicom, the package to install, the decoder; a later one is asked where all before it
# are missing or fail. None follows GDCM's JPEG: others fill in what it refuses.
_DECODERS: dict[str, tuple[tuple[str, str, _Decoder], ...]] = {
    "JPEG": (_GDCM,),
    "JPEG lossless": (_GDCM,),
    "JPEG-LS": (("pyjpegls", "pyjpegls", _jpeg_ls), _GDCM),
    "JPEG 2000": (_OPENJPEG, _GDCM),
    "HTJ2K": (_OPENJPEG,),
    "RLE": (
        ("pylibjpeg", "pylibjpeg with pylibjpeg-rle", _rle),
        ("pydicom", "pydicom", _rle_of_pydicom),
    ),
}


def _conform(
    stored: npt.NDArray[Any],
    stream: Codestream,
    layout: SampleLayout,
    elements: Elements,
    lossless: bool,
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Convert decoded samples to the type of the data set.

    PS3.5 8.2 wants the codestream and the data set to agree. Many encoders state all allocated bits
    in the codestream, which changes no sample. A sample that the stored bits cannot hold is
    refused, or clipped if it is the overshoot of a lossy codec; masked, white would become black.
    """
    bits, signed = layout.bits + layout.shift, layout.signed
    dtype = layout.dtype.newbyteorder("=")
    notes: tuple[str, ...] = ()
    if stream.codec == "RLE":
        return stored.view(dtype), ()
    if stream.signed and not signed and stored.min() < 0:
        raise InputError("DICOM whose compressed image has samples below 0, its header has none")
    if stream.codec in ("JPEG 2000", "HTJ2K") and stream.signed != signed:  # others have no sign
        named = ("unsigned", "signed")
        notes += (f"the pixels are {named[stream.signed]}, the header says {named[signed]}",)
    if stream.bits < bits:
        notes += (f"the pixels have {stream.bits} bits, the header says {bits} bits stored",)
    patterns = signed and not stream.signed  # of two's complement
    if patterns and stream.bits < bits and stream.codec != "JPEG lossless":
        stored = _extend(stored, stream.bits)
    if stream.bits > bits:
        stored, note = _fit(stored, bits, signed, stream, elements, lossless)
        notes += note
    return np.ascontiguousarray(stored, dtype), notes


def _extend(stored: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int16]:
    """Extend the sign of two's complement numbers in the low bits."""
    extended: npt.NDArray[np.int16] = (stored.astype(np.uint16) << (16 - bits)).view(np.int16)
    return extended >> (16 - bits)


def _fit(
    stored: npt.NDArray[Any],
    bits: int,
    signed: bool,
    stream: Codestream,
    elements: Elements,
    lossless: bool,
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return samples that `bits` can hold, and a note if any had to be clipped."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    least, most = int(stored.min()), int(stored.max())
    if signed and not stream.signed:  # patterns of two's complement
        if most < 2**bits:
            return stored, ()
        stored = _extend(stored, stream.bits)
        least, most = int(stored.min()), int(stored.max())
    if low <= least and most <= high:
        return stored, ()
    if elements.has_bit_from(OVERLAY_BITS, bits):  # PS3.5 8.1.1: a retired overlay plane
        return stored, ()
    reach = 2**bits * _OVERSHOOT
    if lossless or stream.lossless or least < low - reach or most > high + reach:
        raise InputError(
            f"DICOM with {bits} bits stored in its header, but samples from {least} to {most} "
            f"in its compressed image of {stream.bits} bits"
        )
    count = int(np.count_nonzero((stored < low) | (stored > high)))
    return np.clip(stored, low, high), (
        f"lossy compression: {count} samples beyond the {bits} bits stored were clipped to them",
    )
