"""Recipe files: TOML read into typed settings, and `--set key=value` on top."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.recipe import REMOVED_KEYS, RENAMED_KEYS, Recipe, require, upgrade_recipe
from orthoedge.training.recipes import recipe_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a packaged recipe by name or a TOML file by path, and apply overrides.

    Args:
        name_or_path: such as `orthovision`, or `my/recipe.toml`.
        overrides: `dotted.key=value`, applied in order. A value that parses as TOML is TOML, any
            other a string; for a tuple, `a,b` is a list and an empty value is the empty list.

    Raises:
        ConfigError: no such recipe, an unknown or missing key, a wrong type, a value out of range.
    """
    try:
        tree = tomllib.loads(_read(name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name_or_path}: {error}") from error
    _check_keys(upgrade_recipe(tree), Recipe, name_or_path, "")
    return _convert(tree, name_or_path, overrides)


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Apply overrides to a recipe, as `load_recipe` does.

    Raises:
        ConfigError: as `load_recipe`.
    """
    return _convert(msgspec.to_builtins(recipe), recipe.name, overrides)


def _convert(tree: dict[str, Any], source: str, overrides: Sequence[str]) -> Recipe:
    for override in overrides:
        _override(tree, override)
    _require_finite(tree, "")
    try:
        return msgspec.convert(upgrade_recipe(tree), Recipe)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):  # raised in __post_init__, wrapped by msgspec
            raise error.__cause__ from None
        raise ConfigError(f"{source}: {error}") from error


def _require_finite(value: object, key: str) -> None:
    """Refuse nan and inf by key: TOML has them, but recipe.json would store null."""
    if isinstance(value, float):
        require(math.isfinite(value), key, "a finite number", value)
    elif isinstance(value, dict):
        for name, item in value.items():
            _require_finite(item, f"{key}.{name}" if key else name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_finite(item, key)


def _read(name_or_path: str) -> str:
    try:
        if name_or_path in recipe_names():
            folder = resources.files("orthoedge.training.recipes")
            return folder.joinpath(f"{name_or_path}.toml").read_text("utf-8")
        return Path(name_or_path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(recipe_names())
        raise ConfigError(f"{name_or_path}: no such recipe or file (recipes: {known})") from error


def _fields(table: type) -> dict[str, Any]:
    """Types of a table's keys; of a table that may be absent, its own."""
    return {f.encode_name: _present(f.type) for f in msgspec.structs.fields(table)}


def _present(kind: Any) -> Any:
    kinds = [other for other in get_args(kind) if other is not NoneType]
    return kinds[0] if len(kinds) == 1 and NoneType in get_args(kind) else kind


def _check_keys(tree: dict[str, Any], table: type, source: str, prefix: str) -> None:
    """Refuse unknown keys by their full name, with the nearest valid one."""
    fields = _fields(table)
    for key, value in tree.items():
        if key not in fields:
            raise ConfigError(f"{source}: unknown key {prefix}{key}{_nearest(prefix + key)}")
        if isinstance(value, dict) and _is_table(fields[key]):
            _check_keys(value, fields[key], source, f"{prefix}{key}.")


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _all_keys(table: type = Recipe, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, kind in _fields(table).items():
        keys += _all_keys(kind, f"{prefix}{name}.") if _is_table(kind) else [prefix + name]
    return keys


def _nearest(key: str) -> str:
    keys = _all_keys()
    # A missing table (`size` for `preprocess.size`) is likelier than a misspelt letter.
    same_leaf = [k for k in keys if k.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_leaf or difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f"; did you mean {close[0]}?"


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key, text = RENAMED_KEYS.get(key.strip(), key.strip()), text.strip()
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected key=value")
    if key in REMOVED_KEYS:
        raise ConfigError(
            f"--set {override}: has no effect any more; set {REMOVED_KEYS[key]} in its place"
        )
    kind: Any = Recipe
    parts = key.split(".")
    for part in parts:
        if get_origin(kind) is dict:  # of labels, which `Recipe` checks
            kind = get_args(kind)[1]
            continue
        if not _is_table(kind) or part not in _fields(kind):
            raise ConfigError(f"--set {override}: unknown key {key}{_nearest(key)}")
        kind = _fields(kind)[part]
    if _is_table(kind):
        raise ConfigError(f"--set {override}: {key} is a table; name one of its keys")
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if tree is None:
            raise ConfigError(f"--set {override}: the recipe has no table {part}")
    tree[parts[-1]] = _value(text, kind)


def _value(text: str, kind: object) -> object:
    """Parse one override; `kind` is the field's type."""
    parsed = _toml(text)
    if get_origin(kind) is tuple and not isinstance(parsed, list):
        return [_toml(item.strip()) for item in text.split(",")] if text else []
    # A string field takes `2024` as text too, because a shell cannot quote it for TOML.
    return text if kind is str and not isinstance(parsed, str) else parsed


def _toml(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if list(parsed) == ["value"] else text
