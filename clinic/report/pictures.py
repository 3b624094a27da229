"""The two pictures of a report: the radiograph, and the same under its map."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from orthoedge.clinic.words.record import FindingRecord
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.overlay.colormap import Picture, map_over_field
from orthoedge.runtime.overlay.panel import draw_panel
from orthoedge.runtime.preprocess import Pixels

__all__ = ["draw_pictures"]

_SIDE = 1000  # pixels of the longer side: at 90 mm, 280 to the inch
_UNIT = 24.0  # x-height that decides the width of lines, in these pixels
_QUALITY = 92


def draw_pictures(pixels: Pixels, record: FindingRecord) -> tuple[bytes, bytes]:
    """Draw both at the size in which they are printed.

    Args:
        pixels: the radiograph, uint8 (H, W).
        record: its finding.

    Returns:
        Two SVG files that hold a JPEG each, since typst takes files in memory only as text: plain,
        and with the map or crossed out.

    Raises:
        InputError: an array of another shape or type.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"expected a radiograph as uint8 (H, W), got {pixels.dtype} {pixels.shape}"
        )
    rows, columns = pixels.shape
    scale = min(1.0, _SIDE / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    shown: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    heat = None
    if record.decision != "reject":
        saliency = np.array(record.saliency_map, np.float32)
        heat = map_over_field(saliency, record.placement, record.input_size)
    unit = _UNIT * max(size) / _SIDE
    contours = [region.contour for region in record.lesions or () if region.contour]
    marked = draw_panel(shown, heat, record.placement, scale, unit, contours)
    return _svg(shown), _svg(marked)


def _svg(picture: Pixels | Picture) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    is_encoded, encoded = cv2.imencode(".jpg", picture, settings)
    if not is_encoded:
        raise OrthoEdgeError(f"cannot encode {picture.dtype} {picture.shape} as JPEG")
    size = f'width="{picture.shape[1]}" height="{picture.shape[0]}"'
    jpeg = base64.b64encode(encoded.tobytes()).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{size}><image {size} xlink:href="data:image/jpeg;base64,{jpeg}"/></svg>'
    ).encode()
