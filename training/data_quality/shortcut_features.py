"""Features of a radiograph's file without its anatomy: source, site, size, border, exposure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.headers import read_header
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import find_collimated_field
from orthoedge.training.data.index import ImageRecord

Floats = npt.NDArray[np.float64]

_BLACK = 6  # grey level that a shutter or a blank background does not exceed
_KINDS = ("PNG", "JPEG", "TIFF", "BMP", "DICOM")


def shortcut_features(records: Sequence[ImageRecord]) -> dict[str, Floats]:
    """Compute features, float64 (N, F), for each family that varies within the set.

    source, site    one-hot, where there are several
    size            width and height in pixels, aspect, bytes per pixel, bits, file format
    border          grey levels of the outer frame, its black share, collimation margins
    exposure        mean, deviation, percentiles and histogram of the grey levels

    Raises:
        DataError: a file cannot be read.
        InputError: a file is not a radiograph.
    """
    families: dict[str, Floats] = {}
    for name in ("source", "site"):
        values, which = np.unique([getattr(s, name) for s in records], return_inverse=True)
        if len(values) > 1:
            families[name] = np.eye(len(values))[which]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        columns = zip(*pool.map(_file_features, records), strict=True)
        return families | dict(
            zip(("size", "border", "exposure"), map(np.array, columns), strict=True)
        )


def _file_features(record: ImageRecord) -> tuple[list[float], list[float], list[float]]:
    try:
        data = record.path.read_bytes()
        image = read_image(data)
    except OSError as error:
        raise DataError(f"{record.path}: cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{record.path}: {error}") from error
    pixels = image.pixels
    height, width = pixels.shape
    kind = "DICOM" if data[128:132] == b"DICM" else read_header(data).kind
    one_hot = [float(kind == k) for k in _KINDS]
    size = [width, height, width / height, len(data) / pixels.size, image.source_bits, *one_hot]

    rim = max(1, min(height, width) // 32)
    edges = pixels[:rim], pixels[-rim:], pixels[:, :rim], pixels[:, -rim:]
    frame = np.concatenate([edge.ravel() for edge in edges])
    x0, y0, x1, y1 = find_collimated_field(pixels)
    border = [
        *(float(edge.mean()) for edge in edges),
        *(float(value) for value in (frame.mean(), frame.std(), (frame <= _BLACK).mean())),
        *(x0 / width, y0 / height, 1 - x1 / width, 1 - y1 / height),
    ]

    histogram = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    levels = np.searchsorted(np.cumsum(histogram), (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    mean, deviation = float(pixels.mean()), float(pixels.std())
    return size, border, [mean, deviation, *levels, *histogram.reshape(32, 8).sum(1)]
