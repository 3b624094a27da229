"""Promise 8: pins with hashes, a bill of materials, and a licence for every package."""

import json
import subprocess
import sys
from importlib.metadata import distributions

import pytest
from packaging.utils import canonicalize_name

from tests.helpers.supply import EXTRAS, PYTHONS, licences, pinned, pins

pytestmark = pytest.mark.slow


def test_every_pin_has_hashes(tally):
    found = [pin for extra in EXTRAS for pin in pins(extra)]
    hashed = [pin for pin in found if pin.hashes]
    note = f"lines of {len(EXTRAS)} lists, for Python {', '.join(PYTHONS)}"
    tally("supply: pins with hashes", len(hashed), len(found), note)


def test_every_installed_package_has_an_allowed_licence(tally):
    installed = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    module = licences()
    wrong = module.check(installed, module.read_lists())
    note = wrong[0] if wrong else "installed packages, tools among them"
    tally("supply: licences", len(installed) - len(wrong), len(installed), note)


def test_the_bill_of_materials_lists_what_a_device_installs(tally, tmp_path):
    out = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", sys.executable]
    subprocess.run([*command, "--output-file", str(out)], check=True, capture_output=True)
    bill = json.loads(out.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {canonicalize_name(one["name"]) for one in bill["components"]}
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = {name for extra in EXTRAS for name in pinned(extra, python)}
    missing = sorted(wanted - listed)
    tally("supply: bill of materials", len(wanted) - len(missing), len(wanted), str(missing or ""))
