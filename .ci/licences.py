"""Print every installed package's licence; exit 1 where one is unknown or not on the list.

The lists stand in pyproject.toml under [tool.orthoedge.licences]. What a device installs, which is
what the extras of the runtime need, must keep to `allowed`; `development` may add more for the
rest. A package whose metadata names no licence that can be read is named under `read_by_hand`.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
RUNTIME = ("", "x86", "portable", "dicom", "clinic", "report", "jetson", "trust")
# Words that packages have in place of an SPDX expression, and the classifiers that say enough.
_WORDS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "LicenseRef-BSD",
    "bsd license": "LicenseRef-BSD",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "python software foundation license": "PSF-2.0",
}


class Lists(NamedTuple):
    """What pyproject.toml says about licences; SPDX identifiers."""

    allowed: frozenset[str]
    development: frozenset[str]
    read_by_hand: dict[str, str]


def read_lists(path: Path = PYPROJECT) -> Lists:
    """The lists of pyproject.toml."""
    table = tomllib.loads(path.read_text("utf-8"))["tool"]["orthoedge"]["licences"]
    allowed = frozenset(table["allowed"])
    return Lists(allowed, allowed | set(table["development"]), table["read_by_hand"])


def licence_of(package: Distribution, read_by_hand: dict[str, str]) -> str | None:
    """SPDX expression of a package, or None where its metadata names none that can be read."""
    metadata = package.metadata
    said = [metadata.get("License-Expression"), metadata.get("License")]
    for classifier in metadata.get_all("Classifier") or []:
        if classifier.startswith("License ::"):
            said.append(classifier.rpartition(" :: ")[2])
    for words in filter(None, said):
        try:
            return canonicalize_license_expression(_WORDS.get(words.strip().lower(), words))
        except InvalidLicenseExpression:
            continue
    return read_by_hand.get(canonicalize_name(metadata["Name"]))


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression can be kept with licences of the list alone."""
    either = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", ""))
    if len(either) > 1 and "AND" in expression:  # no package has both; which binds is not asked
        return all(word in allowed for one in either for word in re.split(r"\s+AND\s+", one))
    return any(all(word in allowed for word in re.split(r"\s+AND\s+", one)) for one in either)


def needed_by_runtime(installed: dict[str, Distribution]) -> set[str]:
    """Names of what orthoedge and the runtime's extras need, and of what those need."""
    waiting, seen = [("orthoedge", extra) for extra in RUNTIME], set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name not in installed:
            continue
        seen.add((name, extra))
        for line in installed[name].requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                name_ = canonicalize_name(wanted.name)
                waiting += [(name_, one) for one in ("", *wanted.extras)]
    return {name for name, _ in seen}


def check(installed: dict[str, Distribution], lists: Lists) -> list[str]:
    """One line for each package whose licence is unknown or not on its list."""
    device, wrong = needed_by_runtime(installed), []
    for name, package in sorted(installed.items()):
        if name == "orthoedge":  # pyproject.toml states the terms of its bundles and samples too
            continue
        expression = licence_of(package, lists.read_by_hand)
        allowed = lists.allowed if name in device else lists.development
        place = "runtime" if name in device else "development"
        print(f"{name:<30} {place:<12} {expression or 'unknown'}")
        if expression is None:
            wrong.append(f"{name}: its metadata names no licence that can be read")
        elif not is_allowed(expression, allowed):
            wrong.append(f"{name}: {expression} is not allowed for {place}")
    return wrong


def main() -> int:
    """Check this environment."""
    installed = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    wrong = check(installed, read_lists())
    for line in wrong:
        print(f"licences: {line}", file=sys.stderr)
    print(f"{len(installed)} packages, {len(wrong)} refused")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
