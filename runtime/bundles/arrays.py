"""Files of arrays, .npy and .npz, read without pickle and never larger than their bytes.

`np.load` allocates what a header asks for before it looks whether the file holds it.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.source import check_directory, check_members
from orthoedge.runtime.errors import BundleError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_SUFFIX = ".npy"
# What zipfile raises at content that is not what it expects.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


def read_npy(data: bytes) -> npt.NDArray[Any]:
    """The array of an .npy file.

    Raises:
        BundleError: it is none, or holds more or less than its header says, or objects.
    """
    file = io.BytesIO(data)
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except (KeyError, ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise BundleError("is no file of arrays") from error
    at = file.tell()
    if dtype.hasobject or dtype.itemsize < 1 or any(side < 0 for side in shape):
        raise BundleError("is no file of numbers or words")
    if math.prod(shape) * dtype.itemsize != len(data) - at:
        raise BundleError("does not hold what its header says")
    flat = np.frombuffer(data, dtype, math.prod(shape), at)
    return flat.reshape(shape, order="F" if by_columns else "C").copy()


def read_npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file by their names.

    Raises:
        BundleError: it is none, or one of its members is not.
    """
    try:
        check_directory(io.BytesIO(data))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = check_members(archive)
            return {
                name.removesuffix(_SUFFIX): read_npy(archive.read(member))
                for name, member in members.items()
            }
    except _DAMAGED as error:
        raise BundleError("is no file of arrays") from error
