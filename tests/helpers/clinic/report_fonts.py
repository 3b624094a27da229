"""The fonts of a report in the language of a test."""

from pathlib import Path

from tests.helpers.clinic.programs import require_file

_FOLDER = Path("/usr/share/fonts")
_FILES = {
    "zh": (_FOLDER / "opentype/noto/NotoSansCJK-Regular.ttc", "fonts-noto-cjk"),
    **dict.fromkeys(
        ("ar", "ur"), (_FOLDER / "truetype/noto/NotoSansArabic-Regular.ttf", "fonts-noto-core")
    ),
    "hi": (_FOLDER / "truetype/noto/NotoSansDevanagari-Regular.ttf", "fonts-noto-core"),
    "bn": (_FOLDER / "truetype/noto/NotoSansBengali-Regular.ttf", "fonts-noto-core"),
}


def require_fonts(language):
    """Skip the test where its script has no font; Latin letters have one in typst."""
    if language in _FILES:
        require_file(*_FILES[language])
