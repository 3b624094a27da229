"""What a device installs is pinned and hashed, and every package's licence is on the list."""

import os
import re
import sys
from importlib import metadata
from importlib.metadata import distributions

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.helpers.supply import EXTRAS, PYTHONS, ROOT, licences, pinned, pins, wanted


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_line_of_a_list_is_one_version_with_its_hashes(extra):
    found = pins(extra)
    assert len(found) >= 3
    for pin in found:
        assert re.fullmatch(r"==[\w.]+", str(pin.requirement.specifier)), pin
        assert pin.requirement.url is None
        assert pin.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in pin.hashes), pin


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_a_list_has_what_pyproject_asks_for_in_a_version_it_takes(extra, python):
    have = pinned(extra, python)
    for asked in wanted(extra, python):
        version = have.get(canonicalize_name(asked.name))
        assert version is not None, f"{asked}: run make lock"
        assert asked.specifier.contains(version), f"{asked}: {version}; run make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_lists_that_are_installed_together_agree(python):
    versions = {}
    for extra in EXTRAS:
        for name, version in pinned(extra, python).items():
            assert versions.setdefault(name, version) == version, name


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_a_device_needs_has_a_lowest_version(extra):
    for asked in wanted(extra):
        assert lowest(asked) is not None, f"{asked}: add the lowest version that make lowest passes"


@pytest.mark.skipif("ORTHOEDGE_LOWEST" not in os.environ, reason="only in the venv of make lowest")
@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lowest_versions_are_those_that_are_installed(extra):
    for asked in wanted(extra, f"{sys.version_info[0]}.{sys.version_info[1]}"):
        installed = Version(metadata.version(asked.name))
        assert installed.release[: len(lowest(asked).release)] == lowest(asked).release, asked


def lowest(requirement):
    """The version after >= of a requirement, or None."""
    bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    return Version(bounds[0]) if bounds else None


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("pydicom", "3.0.0"),  # its import fetches five files
        # Built against numpy 1, and they do not say that they need it.
        ("opencv-python-headless", "4.9.0.80"),
        ("opencv-python-headless", "4.10.0.82"),
        ("onnxruntime", "1.18.0"),
        ("pylibjpeg-openjpeg", "2.2.0"),
        ("pyjpegls", "1.3.0"),
        ("numpy", "3.0.0"),  # of another binary interface than what is built against numpy 2
    ],
)
def test_versions_that_break_a_promise_cannot_be_installed(name, left_out):
    asked = [one for extra in EXTRAS for one in wanted(extra) if one.name == name]
    assert asked
    assert not any(one.specifier.contains(left_out) for one in asked)


def test_no_file_names_a_package_registry():
    hosts = [".".join(parts).encode() for parts in (("pypi", "org"), ("pythonhosted", "org"))]
    hosts += [b"download.pytorch" + b".org", b"anaconda" + b".org"]
    kinds = {".py", ".md", ".toml", ".txt", ".in", ".cfg", ".yaml", ".yml", ".json", ".sh", ""}
    left_out = re.compile(r"^\.(?!ci$)|\.egg-info$|^(build|dist|runs)$|-out$")
    places = [path for path in ROOT.iterdir() if not left_out.search(path.name)]
    files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    assert len(files) > 300
    for file in files:
        if file.suffix in kinds:
            assert not any(host in file.read_bytes() for host in hosts), file


def package(folder, name, *lines):
    """A distribution of that name, with these lines in its metadata."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, ""])
    (info / "METADATA").write_text(text)


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (["License-Expression: MIT"], None),
        (["License-Expression: Apache-2.0 AND MIT"], None),
        (["License-Expression: GPL-3.0-only OR MIT"], None),
        (["License: Apache 2.0"], None),
        (["Classifier: License :: OSI Approved :: MIT License"], None),
        (["License-Expression: GPL-3.0-only"], "odd: GPL-3.0-only is not allowed for runtime"),
        (["License-Expression: MIT AND LGPL-2.1-only"], "odd: MIT AND LGPL-2.1-only is not"),
        (["License: AGPL-3.0-only", "Classifier: License :: OSI Approved :: MIT License"], "odd:"),
        (["License-Expression: MPL-2.0"], "odd: MPL-2.0 is not allowed for runtime"),
        ([], "odd: its metadata names no licence that can be read"),
        (["License: see the file"], "odd: its metadata names no licence that can be read"),
    ],
)
def test_a_licence_that_is_not_listed_or_unknown_is_refused_by_name(lines, refused, tmp_path):
    module = licences()
    package(tmp_path, "orthoedge", "Provides-Extra: x86", "Requires-Dist: odd; extra == 'x86'")
    package(tmp_path, "odd", *lines)
    installed = {one.metadata["Name"]: one for one in distributions(path=[str(tmp_path)])}
    wrong = module.check(installed, module.read_lists())
    assert len(wrong) == (refused is not None)
    assert all(line.startswith(refused) for line in wrong)


def test_a_tool_may_have_what_a_device_may_not(tmp_path):
    module = licences()
    package(tmp_path, "orthoedge", "License-Expression: LicenseRef-own", "Provides-Extra: dev")
    package(tmp_path, "tool", "License-Expression: MPL-2.0")
    installed = {one.metadata["Name"]: one for one in distributions(path=[str(tmp_path)])}
    assert module.check(installed, module.read_lists()) == []


def test_every_installed_package_that_a_device_needs_has_an_allowed_licence():
    module = licences()
    installed = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    needed = module.needed_by_runtime(installed)
    assert {"numpy", "msgspec", "opencv-python-headless"} <= needed
    assert module.check({name: installed[name] for name in needed}, module.read_lists()) == []
