"""JSON as annotation tools write it."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def read_json(file: Path, kind: type[T]) -> T:
    """Read a JSON file, with or without a byte-order mark, as a record; other fields are not read.

    Raises:
        ValueError: in one line: it cannot be read, or is not such a record.
    """
    try:
        return msgspec.json.decode(file.read_bytes().removeprefix(codecs.BOM_UTF8), type=kind)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
