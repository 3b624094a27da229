"""Decoding of compressed DICOM pixels, with one fixed decoder per transfer syntax.

By default pydicom tries every installed decoder in turn, and a file that one refuses can make the
next abort the process. A decoder allocates by the header of the codestream, so that header must
match the DICOM header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import InputError, MissingDependency
from orthoedge.runtime.image_io.decoder_messages import decode_checked
from orthoedge.runtime.image_io.jpeg import read_codestream

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


_OPENJPEG = ("pylibjpeg", "pylibjpeg with pylibjpeg-openjpeg")
# Plug-in of pydicom, or "" for its own decoder, and the package to install; by prefix of the
# transfer syntax; the first match applies.
_DECODERS = {
    "1.2.840.10008.1.2.4.8": ("pyjpegls", "pyjpegls"),
    "1.2.840.10008.1.2.4.9": _OPENJPEG,
    "1.2.840.10008.1.2.4.20": _OPENJPEG,
    "1.2.840.10008.1.2.4.": ("gdcm", "python-gdcm"),
    "1.2.840.10008.1.2.5": ("pylibjpeg", "pylibjpeg with pylibjpeg-rle"),
    "": ("", "pydicom"),
}


def decode(dataset: Dataset, syntax: str) -> npt.NDArray[Any]:
    """Decode the stored values of a single-frame grey image.

    Args:
        dataset: the elements of the file, including PixelData.
        syntax: transfer syntax UID.

    Returns:
        8- or 16-bit integers (Rows, Columns), in native byte order.

    Raises:
        InputError: damaged, also where the decoder only reports it; or in a transfer syntax that
            no decoder reads.
        MissingDependency: the decoder is not installed.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        available = get_decoder(UID(syntax)).available_plugins
    except NotImplementedError as error:
        raise InputError("DICOM in a transfer syntax that no decoder reads") from error
    plugin, package = next(d for prefix, d in _DECODERS.items() if syntax.startswith(prefix))
    if plugin and plugin not in available:
        raise MissingDependency(package, "dicom", f"reading {UID(syntax).name} images")
    if syntax.startswith("1.2.840.10008.1.2.4."):  # the JPEG family
        _check_codestream(dataset)
    dataset.pixel_array_options(decoding_plugin=plugin)
    try:
        stored = decode_checked("DICOM", lambda: dataset.pixel_array)
    except BaseException as error:
        # A panic in a decoder written in Rust is a BaseException.
        if type(error).__name__ != "PanicException":
            raise
        raise InputError("damaged DICOM: it cannot be decoded") from error
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"damaged DICOM: decoded to {stored.shape}, not Rows × Columns")
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))


def _check_codestream(dataset: Dataset) -> None:
    from pydicom.encaps import get_frame

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    stream = read_codestream(frame)
    if (stream.width, stream.height) != (dataset.Columns, dataset.Rows):
        raise InputError("damaged DICOM: the compressed image differs in size from its header")
    if stream.channels != 1 or not 2 <= stream.bits <= int(dataset.BitsAllocated):
        raise InputError("damaged DICOM: the compressed image differs in samples from its header")
    # Some decoders fill a truncated image with grey. All of the family end in FF D9 and an optional
    # padding byte.
    if not frame.rstrip(b"\0\xff").endswith(b"\xd9"):
        raise InputError("truncated DICOM: the compressed image has no end")
