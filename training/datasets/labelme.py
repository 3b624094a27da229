"""Boxes of a LabelMe annotation file."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeVar

import msgspec

from orthoedge.benchmarks.metrics.classification import Box
from orthoedge.runtime.errors import InputError
from orthoedge.training.datasets.boxes import Pixels, fractions_of


class _Shape(msgspec.Struct):
    points: list[tuple[float, float]]
    shape_type: str


class _Annotation(msgspec.Struct):
    shapes: list[_Shape]
    width: int = msgspec.field(name="imageWidth")
    height: int = msgspec.field(name="imageHeight")


def labelme_boxes(file: Path, image: Path) -> tuple[Box, ...]:
    """Read the lesion boxes of a LabelMe file, as fractions of the image.

    A lesion may be drawn twice, as a rectangle and as a polygon. So a polygon whose bounds have
    their centre in a rectangle counts as the same lesion.

    Raises:
        InputError: not a LabelMe file, a shape of a different type, an image of a different size,
            or a box outside it.
    """
    try:
        annotation = read_json(file, _Annotation)
    except ValueError as error:
        raise InputError(f"unreadable annotation: {file.name}: {error}") from error
    rectangles: list[Pixels] = []
    outlines: list[Pixels] = []
    for shape in annotation.shapes:
        if shape.shape_type not in ("rectangle", "polygon") or len(shape.points) < 2:
            what = f"a {shape.shape_type} of {len(shape.points)} points"
            expected = "expected rectangles and polygons"
            raise InputError(f"unreadable annotation: {file.name}: {what}; {expected}")
        xs, ys = zip(*shape.points, strict=True)
        bounds = (min(xs), min(ys), max(xs), max(ys))
        (rectangles if shape.shape_type == "rectangle" else outlines).append(bounds)
    for x0, y0, x1, y1 in outlines.copy():
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        if any(r[0] <= x <= r[2] and r[1] <= y <= r[3] for r in rectangles):
            outlines.remove((x0, y0, x1, y1))
    return fractions_of([*rectangles, *outlines], image, (annotation.width, annotation.height))


T = TypeVar("T", bound=msgspec.Struct)


def read_json(file: Path, kind: type[T]) -> T:
    """Read a JSON file, with or without a byte-order mark, as a struct; ignores other fields.

    Raises:
        ValueError: it cannot be read, or does not match the struct; the message is one line.
    """
    try:
        return msgspec.json.decode(file.read_bytes().removeprefix(codecs.BOM_UTF8), type=kind)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
