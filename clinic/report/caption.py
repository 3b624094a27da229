"""The caption of a picture, which typst sets in any language.

`runtime.overlay.caption` is the one of a device without fonts: OpenCV draws it, in ASCII alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np

from orthoedge.clinic.report.fonts import X_HEIGHTS, choose_families, open_fonts, printable
from orthoedge.clinic.report.typst_module import import_typst
from orthoedge.clinic.words import Catalogue
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.overlay.caption import BACKGROUND
from orthoedge.runtime.overlay.colormap import Picture
from orthoedge.runtime.overlay.layout import CaptionSize

__all__ = ["Caption", "CaptionEntry"]

_STOPS = 17  # colours of the bar
_BAR_BASE = 80  # grey level under the colour bar, that of soft tissue
_FOLDER = Path(__file__).parent


class CaptionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the caption, as the template reads it."""

    kind: Literal["decision", "row", "text", "colours", "outline", "ruler", "small"]
    text: str
    name: str = ""
    """Of a row, before its text."""
    decision: str = ""
    """Whose symbol stands before the text."""
    length: float = 0.0
    """Of the ruler, in pixels of the radiograph."""


class _Size(msgspec.Struct, frozen=True):
    """Size of the caption, as the template measures it, in x-heights."""

    least: float
    heights: list[float]


class Caption:
    """A caption as typst sets it.

    Args:
        entries: its entries, top to bottom.
        texts: of the language that they are in.

    Raises:
        ConfigError: no font for a script of the words.
        MissingDependency: typst is not installed.
    """

    def __init__(self, entries: Sequence[CaptionEntry], texts: Catalogue) -> None:
        self._typst = import_typst()
        self._fonts = open_fonts()
        shown = [_printable(entry) for entry in entries]
        words = [text for entry in shown for text in (entry.name, entry.text)]
        ends = [texts.text(f"page.viewer.map_{end}") for end in ("none", "peak")]
        families = choose_families([*words, *ends], self._fonts)
        self._settings = {
            "language": texts.language,
            "direction": texts.direction,
            "fonts": families,
            "em": 1 / X_HEIGHTS[families[0]],
            "ground": BACKGROUND,
            "stops": _stops(),
            "line": _hex(colormap.LINE),
            "ends": ends,
            "entries": shown,
        }

    def size(self, widths: Sequence[float]) -> CaptionSize:
        """Measure it at some widths in x-heights, the only ones that the result knows."""
        files = self._files(unit=1.0, width=max(widths), scale=0.0, widths=widths)
        measured = self._set(self._typst.query, files, "<size>", field="value", one=True)
        size = msgspec.json.decode(measured, type=_Size)
        return CaptionSize(size.least, dict(zip(widths, size.heights, strict=True)).__getitem__)

    def draw(self, width: int, unit: float, scale: float) -> Picture:
        """Draw it, as high as it has to be.

        Args:
            width: in pixels.
            unit: the x-height, in pixels.
            scale: pixels of the picture per pixel of the radiograph, for the ruler.

        Returns:
            uint8 (H, width, 3), BGR.
        """
        files = self._files(unit=unit, width=width, scale=scale, widths=())
        png = self._set(self._typst.compile, files, format="png", ppi=72.0)
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return picture.astype(np.uint8, copy=False)

    def _files(self, **settings: Any) -> dict[str, bytes]:
        return {
            "main": (_FOLDER / "caption.typ").read_bytes(),
            "sign.typ": (_FOLDER / "sign.typ").read_bytes(),
            "caption.json": msgspec.json.encode({**self._settings, **settings}),
        }

    def _set(
        self, run: Callable[..., Any], files: dict[str, bytes], *given: str, **named: Any
    ) -> Any:
        try:
            return run(files, *given, font_paths=self._fonts, ignore_system_fonts=True, **named)
        except self._typst.TypstError as error:
            raise OrthoEdgeError(f"the words cannot be set: {error}") from error


def _printable(entry: CaptionEntry) -> CaptionEntry:
    return msgspec.structs.replace(entry, text=printable(entry.text), name=printable(entry.name))


def _stops() -> list[str]:
    """Return the colours of the bar, from no saliency to the peak."""
    base = np.full((1, _STOPS), _BAR_BASE, np.uint8)
    colours = colormap.colorize(base, np.linspace(0, 1, _STOPS, dtype=np.float32)[None])
    return [_hex(tuple(colour)) for colour in colours[0].tolist()]


def _hex(bgr: tuple[int, ...]) -> str:
    return f"#{bytes(reversed(bgr)).hex()}"
