"""Finding findings: the text that is searched, and the query for it."""

from __future__ import annotations

import re
import unicodedata

from orthoedge.clinic.history.database import Value
from orthoedge.clinic.history.records import SearchQuery

__all__ = ["folded", "search_condition", "searched_text"]

_SHORTEST = 3  # characters of a word that the index can find
_MOST_WORDS = 8


def folded(text: str) -> str:
    """Text without accents and case: `Müller` and `MULLER` are then the same."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return unicodedata.normalize("NFC", plain).casefold()


def searched_text(*values: Value) -> str:
    """What is searched of a finding, one value a line."""
    return "\n".join(folded(str(value)) for value in values if value)


def search_condition(query: SearchQuery) -> tuple[str, list[Value]]:
    """The condition for `findings` and its values; `1` where everything matches."""
    conditions, values = ["1"], list[Value]()
    for word in folded(query.text).split()[:_MOST_WORDS]:
        found = "SELECT rowid FROM searched WHERE"
        if len(word) < _SHORTEST:  # a Chinese name is shorter than that
            conditions.append(f"number IN ({found} text LIKE ? ESCAPE '\\')")
            values.append("%" + re.sub(r"([%_\\])", r"\\\1", word) + "%")
        else:
            conditions.append(f"number IN ({found} searched MATCH ?)")
            values.append('"' + word.replace('"', '""') + '"')
    for condition, day in (("day >= ?", query.first_day), ("day <= ?", query.last_day)):
        if day:
            conditions.append(condition)
            values.append(day)
    if query.decision == "alert":
        conditions.append("alert")
    elif query.decision:
        conditions.append("decision = ?")
        values.append("" if query.decision == "failure" else query.decision)
    if query.before:
        conditions.append("number < ?")
        values.append(query.before)
    if query.after:
        conditions.append("number > ?")
        values.append(query.after)
    return " AND ".join(conditions), values
