"""Prepare a radiograph for the network, in C++ where orthoedge-native is installed.

Both ways give the same bytes; `tests/native/` compares them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.image_quality import (
    QualityIssue,
    QualityMeasures,
    check_image_quality,
    quality_issues,
)
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, image_statistics
from orthoedge.runtime.preparation.native import NativeLibrary
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels, Preprocess, check_pixels

__all__ = ["PreparedImage", "prepare_image"]


class PreparedImage(NamedTuple):
    """A radiograph as the network and the decision take it."""

    model_input: Pixels
    """uint8 (S, S)."""
    placement: LetterboxTransform
    """Position of the model input on the radiograph."""
    quality_issues: tuple[QualityIssue, ...]
    """From `check_image_quality`."""
    statistics: npt.NDArray[np.float32]
    """float32 (L,), `image_statistics` of the model input."""


def prepare_image(
    pixels: Pixels, preprocess: Preprocess, library: NativeLibrary | None
) -> PreparedImage:
    """Prepare a radiograph, uint8 (H, W), bone bright on dark.

    Args:
        pixels: the radiograph.
        preprocess: the settings of the bundle.
        library: from `find_native_library`; None for numpy and OpenCV.

    Raises:
        InputError: as `Preprocess.prepare`.
    """
    if library is None:
        model_input, placement = preprocess.prepare(pixels)
        issues = check_image_quality(pixels, placement, preprocess.size)
        # Now, while the model input is in the processor's cache.
        return PreparedImage(model_input, placement, issues, image_statistics(model_input))
    check_pixels(pixels)
    if pixels.strides[1] != 1:
        pixels = np.ascontiguousarray(pixels)
    model_input = np.empty((preprocess.size, preprocess.size), np.uint8)
    statistics = np.empty(STATISTICS_SIZE, np.float32)
    field, content, measured = library.prepare(
        pixels,
        preprocess.collimated_field == "crop",
        preprocess.clahe_stage,
        preprocess.clahe_clip,
        preprocess.clahe_tiles,
        model_input,
        statistics,
    )
    placement = LetterboxTransform(field=field, content=content)  # type: ignore[arg-type]
    measures = QualityMeasures(*measured)  # type: ignore[arg-type]
    issues = quality_issues(measures, pixels.shape, placement, preprocess.size)
    return PreparedImage(model_input, placement, issues, statistics)
