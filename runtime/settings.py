"""Settings of engines, calls and trust, the old form of functions that take them, and numbers."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from orthoedge.runtime.errors import ConfigError

LONGEST_S = 1e6
"""Longest wait in seconds, 11 days: the system's calls take no infinite or far larger number."""


def is_above_zero(limit: Any) -> bool:
    """Whether `limit` is a number above 0, which a float can hold; infinity is one."""
    try:
        return not isinstance(limit, str) and float(limit) > 0
    except (TypeError, ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses the processor and the disk.

    Raises:
        ConfigError: `threads` or `streams` is below 1, or `cache` is not a `pathlib.Path`.
    """

    threads: int | None = None
    """CPU threads of one inference; None for one per core. Jetson ignores it."""
    cache: Path | None = None
    """Folder for what x86 compiled or jetson built, so that the next start is faster; with it, x86
    also measures once which precision is faster and remembers that. None writes nothing, and jetson
    then builds its plan at every start, which takes minutes on a board. The portable engine has
    nothing to cache. Cached files carry a SHA-256; a damaged one is rebuilt, and the finding
    says so."""
    streams: int = 1
    """How many images x86 infers at once, for as many calling threads or for `map_results`, which
    share the CPU threads. The portable engine infers for all calling threads at once and jetson for
    one after another, whatever this says. Results do not depend on it."""

    def __post_init__(self) -> None:
        for name, count in (("threads", self.threads), ("streams", self.streams)):
            if count is None:
                continue
            if not isinstance(count, Integral) or count >= 2**31:
                raise ConfigError(f"{name} must be a whole number below 2**31, got {count!r}")
            if count < 1:
                raise ConfigError(f"{name} must be >= 1, got {count}")
        if self.cache is not None and not isinstance(self.cache, Path):
            raise ConfigError(f"cache must be a pathlib.Path, got {self.cache!r}")


@dataclass(frozen=True)
class CallLimits:
    """Limits of one call of a pipeline.

    Raises:
        ConfigError: a limit is not above 0.
    """

    deadline_ms: float | None = None
    """Milliseconds from the start of the call to the decision; past them the call raises
    `DeadlineExceeded`, and the next call works. Checked after each stage and within inference. A
    file that is being decoded is not interrupted, unless a `SandboxedReader` reads it. None for no
    limit."""
    memory_mb: float | None = None
    """MiB that reading one file may take, the bytes of the file included, as estimated from its
    header before it is decoded. Arrays are not limited. None for no limit but that of the size in
    pixels."""

    def __post_init__(self) -> None:
        for name, limit in (("deadline_ms", self.deadline_ms), ("memory_mb", self.memory_mb)):
            if limit is not None and not is_above_zero(limit):
                raise ConfigError(f"{name} must be > 0, got {limit}")


@dataclass(frozen=True)
class BundleTrust:
    """Which bundles are accepted, apart from their hashes, which are always checked.

    Raises:
        ConfigError: `public_key` is not 32 bytes, or `min_version` is not numbers with dots.
    """

    public_key: bytes | None = None
    """Ed25519 public key, 32 bytes as `read_key` returns them. A bundle that this key did not sign
    is refused before its manifest is decoded. None accepts any signer, and unsigned bundles."""
    min_version: str = ""
    """Numbers with dots, compared number by number: an older bundle is refused. Empty accepts any.
    Only meaningful together with `public_key`: anyone who can edit the manifest can edit its
    version."""

    def __post_init__(self) -> None:
        from orthoedge.runtime.bundles.signature import check_version

        if self.public_key is not None and len(self.public_key) != 32:
            raise ConfigError(f"public_key must be 32 bytes, got {len(self.public_key)}")
        check_version(self.min_version, self.min_version)


_P = ParamSpec("_P")
_R = TypeVar("_R")
_OLD_NAMES = {"public_key": "key", "min_version": "oldest"}


def reads_old_form(*positional: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function be called as in 0.1.0, with one argument per setting, and warn about it.

    Args:
        positional: arguments that 0.1.0 took by position and the function takes by name alone.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        required: int = function.__code__.co_argcount  # type: ignore[attr-defined]
        defaults: dict[str, Any] = function.__kwdefaults__ or {}
        places = {
            _OLD_NAMES.get(field.name, field.name): (name, field.name)
            for name, default in defaults.items()
            if isinstance(default, EngineOptions | CallLimits | BundleTrust)
            for field in fields(default)
        }

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            old = dict(zip(positional, args[required:], strict=False))
            old |= {name: kwargs.pop(name) for name in places if name in kwargs}
            if not old or len(args) > required + len(positional):  # the latter is a TypeError
                return function(*args, **kwargs)
            new: dict[str, Any] = {}
            for name, value in old.items():
                parameter, field = places.get(name, (name, ""))
                settings = new.get(parameter, defaults[parameter])
                new[parameter] = replace(settings, **{field: value}) if field else value
            form = ", ".join(f"{name}={value}" for name, value in new.items())
            warnings.warn(
                f"{function.__qualname__}: write {form} in place of {', '.join(old)}",
                DeprecationWarning,
                stacklevel=2,
            )
            return function(*args[:required], **kwargs, **new)  # type: ignore[arg-type]

        return call

    return decorate


_WHOLE = 1e15  # a float has no more than 15 digits that mean something


def plain(value: float, digits: int = 6, group: str = ",") -> str:
    """Format a number for a message, never with an exponent: 1,600 or 0.25 or 0.0000031.

    Args:
        value: any number.
        digits: significant digits; all those before the decimal point are shown.
        group: separator of thousands.
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if abs(value) >= _WHOLE:
        return f"{'over' if value > 0 else 'under'} {math.copysign(_WHOLE, value):,.0f}".replace(
            ",", group
        )
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 12)}f}".replace(",", group)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text.strip("-0") else "almost 0"
