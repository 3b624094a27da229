"""Contact sheets: many small pictures with captions on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.training.data_quality.acceptance import decode

COLUMNS = 8
"""Tiles in a row; even, so that a pair stays side by side."""
REMOVED = (214, 84, 78)
KEPT = (84, 168, 112)
"""Frame colours, RGB."""

_BACK, _TEXT, _DIM = (22, 23, 26), (232, 232, 232), (150, 152, 158)
_TILE, _GAP, _LINE, _HEAD = 184, 14, 17, 62


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet."""

    path: Path
    """The image; a file that cannot be shown gets an empty frame."""
    title: str
    """Reason for showing it, in the frame's colour."""
    detail: str
    """Second line; the file's name is the third."""
    removed: bool
    """Red frame; otherwise green."""


def write_sheet(path: Path, heading: str, note: str, tiles: Sequence[Tile]) -> None:
    """Write the tiles as a PNG, in rows from the left, each with three lines of caption."""
    rows = -(-len(tiles) // COLUMNS)
    step = (_TILE + _GAP, _TILE + 3 * _LINE + 2 * _GAP)
    size = (_GAP + COLUMNS * step[0], _HEAD + max(rows, 1) * step[1] if rows else _HEAD + _GAP)
    sheet = Image.new("RGB", size, _BACK)
    draw = ImageDraw.Draw(sheet)
    # Matplotlib's own font, so that every machine draws the same letters, also beyond ASCII.
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    large = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), 18)
    small = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), 12)
    draw.text((_GAP, 12), heading, _TEXT, large)
    draw.text((_GAP, 37), note, _DIM, small)
    for index, tile in enumerate(tiles):
        x = _GAP + index % COLUMNS * step[0]
        y = _HEAD + index // COLUMNS * step[1]
        colour = REMOVED if tile.removed else KEPT
        draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), (0, 0, 0), colour, 2)
        picture = _picture(tile.path)
        if picture is None:
            draw.text((x + _TILE // 2, y + _TILE // 2), "no picture", _DIM, small, "mm")
        else:
            shown = Image.fromarray(picture)
            shown.thumbnail((_TILE - 8, _TILE - 8))
            sheet.paste(shown, (x + (_TILE - shown.width) // 2, y + (_TILE - shown.height) // 2))
        lines = ((tile.title, colour), (tile.detail, _DIM), (tile.path.name, _TEXT))
        for line, (text, shade) in enumerate(lines):
            below = y + _TILE + 4 + line * _LINE
            draw.text((x, below), _shortened(draw, text, small), shade, small)
    _, png = cv2.imencode(".png", np.asarray(sheet)[..., ::-1])
    write_atomic(path, png.tobytes())


def _picture(path: Path) -> npt.NDArray[np.uint8] | None:
    """Read uint8 (H, W) as training does; if that is refused, RGB (H, W, 3) as it decodes."""
    try:
        data = path.read_bytes()
        return read_image(data).pixels
    except OSError:
        return None
    except InputError:
        decoded = decode(data, cv2.IMREAD_COLOR)
        return None if decoded is None else np.ascontiguousarray(decoded[..., ::-1])


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont) -> str:
    """Shorten text to the width of a tile, with … in place of its middle."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    kept = len(text)
    short = text
    while draw.textlength(short, font) > _TILE and kept > 2:
        kept -= 1
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return short
