"""The ten languages: direction, plural forms, and how numbers and dates are written.

The values are those of the Unicode CLDR; tests/clinic/words/test_languages.py compares them with
Babel's. Digits are 0 to 9 in every language, also where the CLDR prefers others: a measure on the
radiograph and an identifier in its header have these digits too, and a number must not stand on one
page in two scripts. Hours are counted to 24.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orthoedge.runtime.errors import ConfigError

__all__ = ["LANGUAGES", "Language", "language_of"]

_NO_BREAK, _NARROW = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"


def _one(n: int) -> int:
    return int(n != 1)


def _zero_or_one(n: int) -> int:
    return int(n > 1)


def _never(n: int) -> int:
    return 0


def _arabic(n: int) -> int:
    if n < 3:
        return n
    rest = n % 100
    return 5 if rest < 3 else 3 if rest <= 10 else 4


_TWO = ("one", "other")


@dataclass(frozen=True)
class Language:
    """How one language is written."""

    code: str
    """ISO 639-1."""
    name: str
    """In the language itself."""
    months: str
    """Names of the months in a date, with spaces between them."""
    date: str = "{day} {month} {year}"
    direction: str = "ltr"
    """`ltr` or `rtl`, as in HTML."""
    plural: Callable[[int], int] = _one
    """From a number to the place of its form in `plurals`; as in the catalogue's Plural-Forms."""
    plurals: tuple[str, ...] = _TWO
    """The CLDR's names of the forms, which `Intl.PluralRules` has too."""
    decimal: str = "."
    group: str = ","
    percent: str = "{}%"
    comma: str = ", "
    """Between the items of a list."""
    second_group: int = 3
    """Digits of every group before the last one."""


_ALL = (
    Language(
        "en",
        "English",
        "January February March April May June July August September October November December",
    ),
    Language(
        "fr",
        "français",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        plural=_zero_or_one,
        decimal=",",
        group=_NARROW,
        percent=f"{{}}{_NO_BREAK}%",
    ),
    Language(
        "es",
        "español",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        date="{day} de {month} de {year}",
        decimal=",",
        group=".",
        percent=f"{{}}{_NO_BREAK}%",
    ),
    Language(
        "pt",
        "português",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        date="{day} de {month} de {year}",
        plural=_zero_or_one,
        decimal=",",
        group=".",
    ),
    Language(
        "sw",
        "Kiswahili",
        "Januari Februari Machi Aprili Mei Juni Julai Agosti Septemba Oktoba Novemba Desemba",
    ),
    Language(
        "hi",
        "हिन्दी",
        "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
        plural=_zero_or_one,
        second_group=2,
    ),
    Language(
        "ar",
        "العربية",
        "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
        direction="rtl",
        plural=_arabic,
        plurals=("zero", "one", "two", "few", "many", "other"),
        percent="{}\N{LEFT-TO-RIGHT MARK}%\N{LEFT-TO-RIGHT MARK}",
        comma="، ",
    ),
    Language(
        "ur",
        "اردو",
        "جنوری فروری مارچ اپریل مئی جون جولائی اگست ستمبر اکتوبر نومبر دسمبر",
        date="{day} {month}، {year}",
        direction="rtl",
        percent="{}٪",
        comma="، ",
    ),
    Language(
        "bn",
        "বাংলা",
        "জানুয়ারি ফেব্রুয়ারি মার্চ এপ্রিল মে জুন জুলাই আগস্ট সেপ্টেম্বর অক্টোবর নভেম্বর ডিসেম্বর",
        date="{day} {month}, {year}",
        plural=_zero_or_one,
        second_group=2,
    ),
    Language(
        "zh",
        "中文",
        "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        date="{year}年{month}{day}日",
        plural=_never,
        plurals=("other",),
        comma="、",
    ),
)
_BY_CODE = {language.code: language for language in _ALL}

LANGUAGES = tuple(_BY_CODE)
"""Codes of the languages; the first is the source of the translations."""


def language_of(code: str) -> Language:
    """Return how a language is written.

    Raises:
        ConfigError: no such language.
    """
    if code not in _BY_CODE:
        raise ConfigError(f"unknown language {code!r}: expected one of {', '.join(LANGUAGES)}")
    return _BY_CODE[code]
