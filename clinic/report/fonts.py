"""Fonts for the scripts of a report: Noto, from folders of the system or of the settings.

A letter without a font would be printed as a box, which a reader takes for a defect of the paper.
So the fonts are looked for before a page is set, and what is missing is named.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.runtime.errors import ConfigError

if TYPE_CHECKING:
    from typst import Fonts

__all__ = ["FONT_FOLDERS", "X_HEIGHTS", "choose_families", "open_fonts", "printable"]

FONT_FOLDERS = (
    *("/usr/share/fonts/truetype/noto", "/usr/share/fonts/opentype/noto"),  # Debian, Ubuntu
    *("/usr/share/fonts/noto", "/usr/share/fonts/noto-cjk"),  # Alpine, Arch
    *("/usr/share/fonts/google-noto", "/usr/share/fonts/google-noto-cjk"),  # Fedora
    *("/usr/local/share/fonts", "~/.local/share/fonts"),
)
"""Where fonts are looked for after the folders of the settings."""

_LATIN, _CJK = "Noto Sans", "Noto Sans CJK SC"
_OF_TYPST = "Libertinus Serif"  # in the package itself; Latin, Greek and Cyrillic
X_HEIGHTS = {_LATIN: 0.536, _OF_TYPST: 0.429}
"""Height of a small letter of the fonts for Latin, in ems."""
_OF_LATIN = ("LATIN", "GREEK", "CYRILLIC", "COMBINING", "MODIFIER")
_OF_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH")
_LATIN_END = 0x250  # every character below is in both fonts for Latin
_KEPT = "\u200c\u200d\u200e\u200f\u2066\u2067\u2068\u2069"  # joiners and marks of direction


def printable(text: str) -> str:
    """Return a text in one line without what no font prints: control characters and symbols."""
    kept = (
        "?" if unicodedata.category(c)[0] == "S" and ord(c) >= _LATIN_END else c
        for c in " ".join(text.split())
        if unicodedata.category(c)[0] != "C" or c in _KEPT
    )
    return "".join(kept)


def choose_families(texts: Iterable[str], fonts: Fonts) -> list[str]:
    """Return the font families for some texts, that for Latin first.

    Raises:
        ConfigError: there is no font for a script of the texts.
    """
    have = set(fonts.families())
    families = [_LATIN if _LATIN in have else _OF_TYPST]
    for character in sorted(set("".join(texts))):
        family = _family(character)
        if family and family != _LATIN and family not in families:
            if family not in have:
                raise ConfigError(_missing(family))
            families.append(family)
    return families


@lru_cache(maxsize=4)
def open_fonts(folders: Sequence[Path] = ()) -> Fonts:
    """Open the fonts of these folders and of `FONT_FOLDERS`.

    Raises:
        ConfigError: one of the folders is none.
        MissingDependency: typst is not installed.
    """
    from orthoedge.clinic.report.typst_module import import_typst

    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"fonts: {folder} is not a folder")
    places = [*folders, *(Path(place).expanduser() for place in FONT_FOLDERS)]
    fonts: Fonts = import_typst().Fonts(
        include_system_fonts=False,
        include_embedded_fonts=True,
        font_paths=[str(place) for place in places if place.is_dir()],
    )
    return fonts


def _family(character: str) -> str:
    """Family for a character; empty for one that every font has."""
    if ord(character) < _LATIN_END or unicodedata.category(character)[0] not in "LM":
        return ""
    script = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    if script in _OF_LATIN:
        return _LATIN
    return _CJK if script in _OF_CJK else f"{_LATIN} {script.title()}"


def _missing(family: str) -> str:
    script = "Chinese" if family == _CJK else family.removeprefix(f"{_LATIN} ")
    package = "fonts-noto-cjk" if family == _CJK else "fonts-noto-core"
    return (
        f"no font for {script} letters: install {family} (apt-get install {package}), "
        "or name a folder that holds it with --fonts DIR"
    )
