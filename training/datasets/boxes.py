"""Conversion of annotated boxes from pixels to fractions of the radiograph."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.headers import read_header

Pixels = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, from the upper left corner."""

# Annotation tools round to whole pixels or to four decimals, so a box at the edge may reach past it
_SLACK = 1.0


def image_size(path: Path) -> tuple[int, int]:
    """Read width and height from the header of an image file.

    Raises:
        InputError: not an image.
    """
    try:
        header = read_header(path.read_bytes())
    except (OSError, InputError) as error:
        detail = getattr(error, "strerror", None) or error
        raise InputError(f"unreadable: {detail}") from error
    return header.width, header.height


def fractions_of(boxes: Iterable[Pixels], image: Path, stated: tuple[int, int]) -> tuple[Box, ...]:
    """Convert boxes to fractions of width and height.

    Args:
        boxes: in pixels of an image of the size `stated`.
        image: the file, whose header is compared with `stated`.
        stated: width and height that the annotation was made for.

    Raises:
        InputError: the image has a different size, or a box lies outside it or has no area.
    """
    width, height = image_size(image)
    if (width, height) != stated:
        size = f"made for {stated[0]}×{stated[1]}, the image has {width}×{height} pixels"
        raise InputError(f"annotation of a different size: {size}")
    return tuple(_fraction(box, width, height) for box in boxes)


def _fraction(box: Pixels, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    shown = f"[{x0:g}, {y0:g}, {x1:g}, {y1:g}] in {width}×{height} pixels"
    outside = min(x0, y0) < -_SLACK or x1 > width + _SLACK or y1 > height + _SLACK
    if outside or not all(map(math.isfinite, box)):
        raise InputError(f"box outside the image: {shown}")
    inside = max(x0, 0) / width, max(y0, 0) / height, min(x1 / width, 1), min(y1 / height, 1)
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise InputError(f"box without area: {shown}")
    return inside
