"""Safe reading of .npy and .npz files: no pickle, and no allocation beyond the file's size.

`np.load` allocates the size stated in the header before it checks that the file holds the data.
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.source import DAMAGED_ZIP, check_directory, check_members
from orthoedge.runtime.errors import BundleError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(data: bytes) -> npt.NDArray[Any]:
    """Decode an .npy file.

    Raises:
        BundleError: malformed, of another size than its header states, or holding objects.
    """
    file = io.BytesIO(data)
    try:
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except (KeyError, ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise BundleError("not a valid .npy file") from error
    at = file.tell()
    if dtype.hasobject or dtype.itemsize < 1 or any(side < 0 for side in shape):
        raise BundleError("holds objects in place of numbers or strings")
    if math.prod(shape) * dtype.itemsize != len(data) - at:
        raise BundleError("its size does not match its header")
    flat = np.frombuffer(data, dtype, math.prod(shape), at)
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()


def read_npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Decode an .npz file into its arrays by name.

    Raises:
        BundleError: malformed, or one of its members is.
    """
    try:
        check_directory(io.BytesIO(data))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                name.removesuffix(".npy"): read_npy(archive.read(member))
                for name, member in check_members(archive).items()
            }
    except DAMAGED_ZIP as error:
        raise BundleError("not a valid .npz file") from error
