"""Reading the TOML file of a node, and everything that is wrong with it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.settings import (
    EngineSettings,
    HistorySettings,
    NodeSettings,
    OperationsSettings,
    QueueSettings,
    ReceiverSettings,
    ReportSettings,
    RetentionSettings,
    SendingSettings,
    check_name,
)
from orthoedge.runtime.errors import ConfigError, MissingDependency

__all__ = ["convert_settings", "find_problems", "read_settings"]

_Settings = TypeVar("_Settings")
_TABLES: dict[str, type] = {
    "receiver": ReceiverSettings,
    "queue": QueueSettings,
    "retention": RetentionSettings,
    "engine": EngineSettings,
    "sending": SendingSettings,
    "report": ReportSettings,
    "operations": OperationsSettings,
    "history": HistorySettings,
}


def read_settings(path: Path) -> NodeSettings:
    """Read the settings of a node.

    Raises:
        ConfigError: no TOML, or a setting is unknown, missing, of the wrong type or out of range;
            the message names the first such setting.
        OSError: the file cannot be read.
    """
    tables = _read_toml(path)
    try:
        return msgspec.convert(tables, NodeSettings)
    except msgspec.ValidationError as error:
        problems = _problems(tables) or (_plain(str(error), NodeSettings),)
        raise ConfigError(f"{path}: {problems[0]}") from error


def convert_settings(path: Path, kind: type[_Settings]) -> _Settings:
    """Read a TOML file of other settings than a node's.

    Raises:
        ConfigError, OSError: as `read_settings`.
    """
    try:
        return msgspec.convert(_read_toml(path), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_plain(str(error), kind)}") from error


def find_problems(path: Path) -> tuple[str, ...]:
    """What is wrong with a file of settings, one line for each table in which something is.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return _problems(_read_toml(path))
    except ConfigError as error:
        return (str(error).removeprefix(f"{path}: "),)


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise MissingDependency("tomli", "clinic", "reading settings") from error

    try:
        return tomllib.loads(path.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8, byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _problems(tables: dict[str, Any]) -> tuple[str, ...]:
    """The first problem of each table; empty if `NodeSettings` takes them all."""
    found = []
    left = dict(tables)
    for name, kind in _TABLES.items():
        if name in left:
            found += _problem(name, left.pop(name), kind)
    destinations = left.get("destinations")
    if isinstance(destinations, dict):
        for name, table in left.pop("destinations").items():
            found += _problem(f"destinations.{name}", table, Destination)
            found += _name_problem(name)
    return (*_problem("", left, NodeSettings), *found)


def _name_problem(name: str) -> list[str]:
    try:
        check_name(name)
    except ConfigError as error:
        return [str(error)]
    return []


def _problem(place: str, table: object, kind: type) -> list[str]:
    try:
        msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        return [_plain(str(error), kind, place)]
    return []


def _plain(message: str, kind: type, table: str = "") -> str:
    """Write `message - at `$.port`` as `table.port: message`."""
    text, _, place = message.partition(" - at `$")
    if text.startswith("Invalid enum value"):
        text += f"; allowed: {', '.join(_allowed(kind, place))}"
    keys = ".".join(filter(None, (table, place.rstrip("`").strip("."))))
    return f"{keys}: {text}" if keys else text


def _allowed(kind: Any, place: str) -> tuple[str, ...]:
    """Values of the setting at `.table.key[0]` in settings of `kind`."""
    for key in re.findall(r"[a-z_]+", place):
        kind = get_type_hints(kind)[key]
    while get_origin(kind) is not Literal:
        kind = get_args(kind)[0]
    return get_args(kind)
