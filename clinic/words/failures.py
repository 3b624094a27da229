"""Why a file could not be read: from the technical line to a sentence of the catalogue.

The readers say what is wrong with a file in one line of English, which stays as it is for whoever
looks for the cause. The line begins with the kind of the fault; `tests/clinic/words` compares every
one that the readers can raise with this table.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["FailureId", "failure_id"]

FailureId = Literal[
    "failure.colour",
    "failure.crashed",
    "failure.damaged",
    "failure.empty",
    "failure.encoding",
    "failure.memory",
    "failure.missing_package",
    "failure.modality",
    "failure.no_contrast",
    "failure.no_pixels",
    "failure.not_image",
    "failure.other",
    "failure.several",
    "failure.too_large",
    "failure.too_slow",
    "failure.too_small",
    "failure.truncated",
    "failure.unreadable",
]
"""Of a sentence in the catalogue."""

# The first that matches counts.
_KINDS: tuple[tuple[str, FailureId], ...] = (
    (r"empty file", "failure.empty"),
    (r"not an image\b", "failure.not_image"),
    (r"truncated\b|damaged JPEG: the picture stops early|.*beyond its end", "failure.truncated"),
    (r"damaged\b|malformed\b", "failure.damaged"),
    (r"(image|file) too large\b", "failure.too_large"),
    (r"image too small\b", "failure.too_small"),
    (r"no contrast\b", "failure.no_contrast"),
    (r"colour (image|DICOM)\b", "failure.colour"),
    (r"wrong modality\b", "failure.modality"),
    (r"DICOM without pixel data", "failure.no_pixels"),
    (
        r"multi-frame\b|animated\b|TIFF with several pages|TIFF whose first page"
        r"|DICOM with several compressed images",
        "failure.several",
    ),
    (r"there is not enough memory|not enough memory", "failure.memory"),
    (r"\S+ is not installed\b", "failure.missing_package"),
    (r"reading it took longer\b|.*overran the deadline\b", "failure.too_slow"),
    (r"its decoder crashed\b", "failure.crashed"),
    (r"cannot read\b|no such file|a path\b|the path\b", "failure.unreadable"),
    (r"(lossless )?(DICOM|TIFF|PNG|JPEG|JPEG-LS|BMP)\b", "failure.encoding"),
)


def failure_id(reason: str) -> FailureId:
    """Return the id of the sentence for a technical line; `failure.other` for an unknown one."""
    for pattern, name in _KINDS:
        if re.match(pattern, reason):
            return name
    return "failure.other"
