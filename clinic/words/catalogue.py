"""The texts of one language."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path

from orthoedge.clinic.words.languages import Language, language_of
from orthoedge.clinic.words.po_file import read_po

__all__ = ["Catalogue", "catalogue"]

_TEXTS = Path(__file__).parent / "texts"
# Around names and numbers in a text that runs from right to left, so that they do not reorder it.
_ISOLATE = "\N{FIRST STRONG ISOLATE}{}\N{POP DIRECTIONAL ISOLATE}"
_REVIEWER = "x-reviewed-by"
_SURE = 0.9995  # rounding must not make a probability look certain
_LARGEST = 10**15
_OF_A_PAGE = (
    "decision.", "error.", "failure.", "label.", "notice.", "number.", "page.", "region.",
    "report.earlier", "side.",
)  # fmt: skip


class Catalogue:
    """Texts, numbers and dates of one language.

    Args:
        language: how it is written.
        messages: from `read_po`.
    """

    def __init__(self, language: Language, messages: Mapping[str, tuple[str, ...]]) -> None:
        self._language = language
        self._messages = {name: forms for name, forms in messages.items() if name}
        self.ids = frozenset(self._messages)
        """Identifiers of all messages."""
        lines = messages.get("", ("",))[0].splitlines()
        header = {key.strip().lower(): value.strip() for key, _, value in map(_split, lines)}
        self.is_reviewed = bool(header.get(_REVIEWER))
        """Whether a clinician who speaks the language has read the translation."""

    @property
    def language(self) -> str:
        """Its code."""
        return self._language.code

    @property
    def name(self) -> str:
        """Its name, in the language itself."""
        return self._language.name

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`, as in HTML."""
        return self._language.direction

    def text(self, message_id: str, /, **values: str | int | float) -> str:
        """Return a message with its placeholders filled.

        Args:
            message_id: identifier of the message.
            values: by the name of their placeholders. Numbers are written as the language does; of
                a message with plural forms, the one for the number `n` is taken.

        Raises:
            KeyError: no such message, or a placeholder without a value.
        """
        forms = self._messages[message_id]
        number = values.get("n")
        is_whole = isinstance(number, int) and len(forms) > 1
        form = forms[self._language.plural(abs(int(number or 0)))] if is_whole else forms[-1]
        return form.format_map({name: self._shown(value) for name, value in values.items()})

    def page_texts(self) -> dict[str, str | dict[str, str]]:
        """Return the messages of a page, with placeholders, which its scripts fill.

        A message with plural forms is a table by the names that `Intl.PluralRules` returns.
        """
        return {
            name: self._forms(forms)
            for name, forms in sorted(self._messages.items())
            if name.startswith(_OF_A_PAGE)
        }

    def number(self, value: float, decimals: int = 0, *, is_fixed: bool = False) -> str:
        """Write a number with that many decimals, at most or exactly."""
        if not math.isfinite(value) or abs(value) >= _LARGEST:
            return "–"
        whole, _, fraction = f"{abs(value):.{decimals}f}".partition(".")
        fraction = fraction if is_fixed else fraction.rstrip("0")
        groups = [whole[-3:]]
        rest = whole[:-3]
        while rest:
            groups.insert(0, rest[-self._language.second_group :])
            rest = rest[: -self._language.second_group]
        text = self._language.group.join(groups)
        text += f"{self._language.decimal}{fraction}" if fraction else ""
        return f"-{text}" if value < 0 and text.strip("0.,") else text

    def percent(self, share: float, decimals: int = 0) -> str:
        """Write a share from 0 to 1 as percent, with that many decimals."""
        return self._language.percent.format(self.number(share * 100, decimals, is_fixed=True))

    def probability(self, share: float) -> str:
        """Write a probability as percent with one decimal; never as 0% or 100%."""
        if share >= _SURE:
            return self.text("number.over", value=self.percent(0.999, 1))
        if share < 1 - _SURE:
            return self.text("number.under", value=self.percent(0.001, 1))
        return self.percent(share, 1)

    def millimetres(self, length: float) -> str:
        """Write a length with two digits, since the network's cells allow no more."""
        return f"{self.number(length, 0 if length >= 10 else 1)} mm"

    def date(self, day: date) -> str:
        """Write a date with the name of its month."""
        month = self._language.months.split()[day.month - 1]
        return self._language.date.format(day=day.day, month=month, year=day.year)

    def list(self, items: tuple[str, ...]) -> str:
        """Write a list, its items separated as the language does."""
        return self._language.comma.join(items)

    def isolate(self, text: str) -> str:
        """Keep a name or a measure from reordering a text that runs from right to left."""
        return _ISOLATE.format(text) if text and self.direction == "rtl" else text

    def sentences(self, items: Iterable[str]) -> str:
        """Put sentences one after another."""
        text = ""
        for item in filter(None, items):
            text += f" {item}" if text and not text.endswith("。") else item
        return text

    def _shown(self, value: str | int | float) -> str:
        if not isinstance(value, str):
            return self.number(value, 0 if isinstance(value, int) else 2)
        return self.isolate(value)

    def _forms(self, forms: tuple[str, ...]) -> str | dict[str, str]:
        if len(forms) == 1:
            return forms[0]
        named = dict(zip(self._language.plurals, forms, strict=True))
        return named if "other" in named else named | {"other": forms[-1]}


@cache
def catalogue(language: str) -> Catalogue:
    """Return the texts of a language.

    Args:
        language: one of `LANGUAGES`.

    Raises:
        ConfigError: no such language.
    """
    known = language_of(language)
    return Catalogue(known, read_po((_TEXTS / f"{language}.po").read_text("utf-8")))


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")
