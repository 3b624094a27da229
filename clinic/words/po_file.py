"""Reads the gettext catalogues: `texts/<language>.po`, which translators edit.

They are read as they are, so that a checkout, an editable install and a wheel have the same texts
without a step that compiles them. What is read is what Babel and GNU gettext write; contexts
(msgctxt) are not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from orthoedge.runtime.errors import DataError

__all__ = ["read_po"]

_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr(?:\[\d\])?) +)?(".*")')


def read_po(text: str) -> Mapping[str, tuple[str, ...]]:
    """Read a catalogue.

    Returns:
        For each msgid its forms: one, or for a plural message all of them in order. The empty msgid
        holds the catalogue's header.

    Raises:
        DataError: a line is not understood, or has no text.
    """
    messages: dict[str, tuple[str, ...]] = {}
    parts: dict[str, str] = {}
    keyword = ""
    for number, line in enumerate((*text.splitlines(), ""), 1):
        if not line.strip():
            if parts:
                forms = [part for key, part in parts.items() if key.startswith("msgstr")]
                messages[parts.get("msgid", "")] = tuple(forms)
            parts, keyword = {}, ""
        elif not line.startswith("#"):
            match = _LINE.fullmatch(line.strip())
            keyword = (match and match[1]) or keyword
            if match is None or not keyword:
                raise DataError(f"line {number} of the catalogue is no message: {line}")
            parts[keyword] = parts.get(keyword, "") + _unquote(match[2], number)
    return messages


def _unquote(quoted: str, number: int) -> str:
    try:
        return str(json.loads(quoted))  # the escapes of gettext are among those of JSON
    except json.JSONDecodeError as error:
        raise DataError(f"line {number} of the catalogue is not quoted as it should be") from error
