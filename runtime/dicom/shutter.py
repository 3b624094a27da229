"""The display shutter: what the maker wants covered, such as the area outside the collimator.

Source: DICOM PS3.3 C.7.6.11. Coordinates are row and column, counted from 1.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.dicom.elements import Elements

_SHAPES = ("RECTANGULAR", "CIRCULAR", "POLYGONAL")
_SMALLEST = 0.01  # of the image; a shutter that leaves less is a mistake
_EDGES = (
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
)


def read_shutter(
    elements: Elements, rows: int, columns: int, aspect: float
) -> npt.NDArray[np.bool_] | None:
    """Return which pixels the shutter leaves visible, bool (rows, columns); None for all.

    Several shapes leave visible what is inside each of them. A shape that is malformed, and a
    shutter that covers nearly everything, are left out with a note.

    Args:
        elements: of the file.
        rows: of the image.
        columns: of the image.
        aspect: height over width of a pixel; a circle is round in mm.
    """
    visible = None
    for shape in elements.codes("ShutterShape"):
        inside = _inside(shape, elements, rows, columns, aspect)
        if inside is not None:
            visible = inside if visible is None else np.logical_and(visible, inside, out=visible)
    if visible is None or visible.all():
        return None
    if visible.mean() < _SMALLEST:
        elements.leave_out("ShutterShape", "it covers the image")
        return None
    return visible


def _inside(
    shape: str, elements: Elements, rows: int, columns: int, aspect: float
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels inside one shape; None, with a note, where it is malformed."""
    y, x = np.ogrid[1 : rows + 1, 1 : columns + 1]
    if shape == "RECTANGULAR":
        edges = [elements.number(edge) for edge in _EDGES]
        if None not in edges:
            upper, lower, left, right = (edge or 0.0 for edge in edges)
            return ((y >= upper) & (y <= lower)) & ((x >= left) & (x <= right))
    elif shape == "CIRCULAR":
        centre = elements.numbers("CenterOfCircularShutter", 2)
        radius = elements.number("RadiusOfCircularShutter", lambda value: value > 0)  # in columns
        if centre is not None and radius is not None:
            return (x - centre[1]) ** 2 <= radius**2 - ((y - centre[0]) * aspect) ** 2
    elif shape == "POLYGONAL":
        corners = elements.numbers("VerticesOfThePolygonalShutter", valid=lambda v: abs(v) < 2**15)
        if corners is not None and len(corners) >= 6 and len(corners) % 2 == 0:
            points = np.rint(np.array(corners).reshape(-1, 2)[:, ::-1] - 1).astype(np.int32)
            inside = np.zeros((rows, columns), np.uint8)
            return cv2.fillPoly(inside, [points], (1,)).view(np.bool_)
    reason = "malformed" if shape in _SHAPES else "not read"
    elements.leave_out("ShutterShape", f"a shape of it is {reason}")
    return None
