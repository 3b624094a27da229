"""Finding findings: the text that is searched, and the query for it."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from orthoedge.clinic.history.database import Value
from orthoedge.clinic.history.records import SearchQuery
from orthoedge.clinic.words.facts import region_of

__all__ = ["folded", "is_of_region", "search_condition", "searched_text"]

_INDEXED = 3  # characters of which the index is made
_MOST_WORDS = 8
# Of a script without spaces each character is a word, since a name has two or three of them.
_CHARACTER = re.compile("([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


def folded(text: str) -> str:
    """Text without accents and case: `Müller` and `MULLER` are then the same."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return unicodedata.normalize("NFC", plain).casefold()


def searched_text(*values: Value) -> str:
    """What is searched of a finding: its words, with spaces before each.

    A word of fewer than three characters makes three with them, which the index finds.
    """
    words = " ".join(folded(str(value)) for value in values if value)
    return "".join(f"{_space(1)}{word}" for word in _words(words))


@lru_cache(4096)
def is_of_region(body_part: str, region: str) -> bool:
    """Whether a body part of a header belongs to a region; the parts of the spine to `spine`."""
    found = region_of(body_part)
    return found == region or found.endswith(f"_{region}")


def search_condition(query: SearchQuery) -> tuple[str, str, list[Value]]:
    """What is searched in the text, empty for nothing; the condition for the rest, and its values.

    Every word of the query is a part of a word of the text; one of fewer than three characters is
    the beginning of one.
    """
    words = [f"{_space(len(word))}{word}" for word in _words(folded(query.text))[:_MOST_WORDS]]
    quoted = " AND ".join('"' + word.replace('"', '""') + '"' for word in words)
    filters, values = list[str](), list[Value]()
    for condition, day in (("day >= ?", query.first_day), ("day <= ?", query.last_day)):
        if day:
            filters.append(condition)
            values.append(day)
    if query.decision == "alert":
        filters.append("alert")
    elif query.decision:
        filters.append("decision = ?")
        values.append("" if query.decision == "failure" else query.decision)
    # Indexes hold all that the filters ask for. Looking up each finding with the words, or each of
    # a day, to see whether it passes takes several times as long where there are many.
    number = "searched.rowid" if quoted else "number"
    if filters and (quoted or query.first_day or query.last_day):
        plus = "+" if quoted else ""  # the index of words is walked, not asked once for each number
        filters = [f"{plus}{number} IN (SELECT number FROM findings WHERE {' AND '.join(filters)})"]
    if query.region:  # of no index: the database looks up what passes the rest
        filters.append("is_of_region(body_part, ?)")
        values.append(query.region)
    for condition, bound in (("<", query.before), (">", query.after)):
        if bound:
            filters.append(f"{number} {condition} ?")
            values.append(bound)
    return quoted, " AND ".join(filters or ["1"]), values


def _words(text: str) -> list[str]:
    return _CHARACTER.sub(r" \1 ", text).split()


def _space(length: int) -> str:
    return " " * max(0, _INDEXED - length)
