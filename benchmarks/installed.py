"""How large what is installed is: our wheel, and all that a target needs beside Python."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from orthoedge.runtime.errors import EngineError, MissingDependency

_OURS = "orthoedge"
_PACKAGES = ("cli", "training", "compression", "runtime", "benchmarks", "targets")
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@cache
def wheel_bytes() -> int:
    """Size of our files deflated as a wheel deflates them; its few lines of metadata not among."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, file in _our_files():
            archive.write(file, f"{_OURS}/{folder.name}/{file.relative_to(folder)}")
    return len(packed.getvalue())


@cache
def environment_bytes(target: str) -> int:
    """Size of all files that `pip install orthoedge[TARGET]` brings, compiled bytecode not among.

    They are those of the packages that are installed here. Python itself is not counted.

    Raises:
        MissingDependency: a package of the target is not installed, or orthoedge is not, so that
            what it needs is not on record.
        EngineError: nothing is on record of the target's engine.
    """
    if target == "jetson":
        raise EngineError("TensorRT comes with JetPack, which keeps no record of its size")
    found: dict[str, metadata.Distribution] = {}
    waiting = list(_required(_distribution(_OURS, target), target))
    while waiting:
        name, certain = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = _distribution(name, target)
        except MissingDependency:
            if certain:
                raise
            continue  # needed by other systems or by other versions of Python
        waiting += _required(found[key], "")
    ours = sum(file.stat().st_size for _, file in _our_files())
    return ours + sum(map(_recorded_bytes, found.values()))


def _distribution(name: str, target: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(name, target, "the size of its environment") from error


def _required(distribution: metadata.Distribution, extra: str) -> Iterator[tuple[str, bool]]:
    """Names of what it needs, with one extra, and whether it needs them everywhere."""
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        asked = _EXTRA.search(marker)
        name = _NAME.match(requirement.strip())
        if name and (asked is None or asked.group(1) == extra):
            yield name.group(), asked is not None or not marker


def _recorded_bytes(distribution: metadata.Distribution) -> int:
    paths = {Path(str(file.locate())) for file in distribution.files or ()}
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def _our_files() -> Iterator[tuple[Path, Path]]:
    """Each file of our packages behind the folder that it belongs to."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(f"{_OURS}.{package}")
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(place).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    yield Path(place), file
