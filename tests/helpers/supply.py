"""What the lists under requirements/ pin, and the licence check of `.ci/licences.py`."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXTRAS = ("x86", "portable", "dicom", "clinic", "report", "jetson", "trust")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


class Pin(NamedTuple):
    """One requirement of a list."""

    requirement: Requirement
    hashes: list[str]


def environment(python):
    """What markers ask about a Linux PC with that Python."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "extra": "",
    }


def pins(extra):
    """Every requirement of an extra's list; a line that is none fails."""
    text = (ROOT / "requirements" / f"{extra}.txt").read_text("utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            words, *hashes = re.split(r"\s--hash=", line.strip())
            found.append(Pin(Requirement(words), [one.strip() for one in hashes]))
    return found


def pinned(extra, python):
    """Name and version of what a list installs for a Python."""
    return {
        canonicalize_name(pin.requirement.name): str(pin.requirement.specifier).removeprefix("==")
        for pin in pins(extra)
        if pin.requirement.marker is None or pin.requirement.marker.evaluate(environment(python))
    }


def wanted(extra, python=None):
    """What pyproject.toml asks for with an extra: for one Python, or for any."""
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]
    found = {}
    for asked in map(Requirement, lines):
        if asked.name == PROJECT["name"]:  # an extra that contains others
            found |= {str(one): one for other in asked.extras for one in wanted(other, python)}
        elif python is None or asked.marker is None or asked.marker.evaluate(environment(python)):
            found[str(asked)] = asked
    return list(found.values())


def licences():
    """The module `.ci/licences.py`."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / ".ci" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
