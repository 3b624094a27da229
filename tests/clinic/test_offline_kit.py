"""`make offline-kit` on a machine without a network: install, update, back."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".ci/offline-kit/build.py"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="a network namespace needs root and util-linux",
    ),
]


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    out = tmp_path_factory.mktemp("kit") / "kit"
    machine = platform.machine()
    command = [sys.executable, BUILD, "--out", out, "--machines", machine, "--pythons", PYTHON]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture(scope="module")
def newer(kit):
    """The same kit with another page, and thus another version."""
    folder = kit.with_name("newer")
    shutil.copytree(kit, folder, copy_function=os.link)
    page = folder / "docs/README.html"
    text = page.read_bytes() + b"<!-- newer -->\n"
    page.unlink()
    page.write_bytes(text)
    sums = folder / "SHA256SUMS"
    lines = [
        f"{hashlib.sha256(text).hexdigest()}  docs/README.html"
        if line.endswith("  docs/README.html")
        else line
        for line in sums.read_text().splitlines()
    ]
    sums.unlink()
    sums.write_text("\n".join(lines) + "\n")
    return folder


def offline(*command, status=0):
    """Run a program in a network namespace that has no route, not even to itself."""
    done = subprocess.run(
        ["unshare", "--net", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
        },
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


def test_it_installs_updates_and_goes_back_with_the_findings_intact(kit, newer, tmp_path):
    prefix, state = tmp_path / "orthoedge", tmp_path / "findings"
    place = ("--prefix", prefix, "--state", state, "--no-service")
    program = prefix / "bin/orthoedge"

    offline("sh", kit / "install.sh", *place)
    first = (prefix / "current").readlink()
    sample = next((ROOT / "runtime/assets/samples/radiographs").glob("*.jpg"))
    assert '"decision"' in offline(program, "predict", sample, "--json")
    (prefix / "releases/killed").mkdir()  # what a killed installation leaves

    history = (
        "import sys; from pathlib import Path; from orthoedge.clinic.history import History;"
        "History(Path(sys.argv[1])).close()"
    )
    offline(prefix / "current/bin/python", "-c", history, state)
    before = sorted(path.name for path in state.iterdir())
    offline("sh", newer / "install.sh", *place)
    assert (prefix / "current").readlink() != first
    assert not (prefix / "releases/killed").exists()
    offline(program, "clinic", "check", "--folder", f"{state}.backup")

    offline("sh", prefix / "current/install.sh", "--back", *place)
    assert (prefix / "current").readlink() == first
    assert "(current)" in offline("sh", newer / "install.sh", "--list", *place)
    offline(program, "clinic", "check", "--folder", state)
    assert set(before) <= {path.name for path in state.iterdir()}


def test_a_damaged_kit_changes_nothing(kit, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(kit, damaged, copy_function=os.link)
    page = damaged / "docs/README.html"
    page.unlink()
    prefix = tmp_path / "orthoedge"
    message = offline("sh", damaged / "install.sh", "--prefix", prefix, "--no-service", status=2)
    assert "docs/README.html" in message
    assert not prefix.exists()


def test_a_kit_for_another_python_names_what_it_has(kit, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(kit, other, copy_function=os.link)
    (pins,) = other.glob("packages-*.txt")
    pins.rename(other / "packages-x86_64-cp27.txt")
    sums = other / "SHA256SUMS"
    text = sums.read_text().replace(pins.name, "packages-x86_64-cp27.txt")
    sums.unlink()
    sums.write_text(text)
    message = offline("sh", other / "install.sh", "--prefix", tmp_path / "p", status=2)
    assert "x86_64-cp27" in message


def test_the_pages_link_to_each_other(kit):
    readme = (kit / "docs/README.html").read_text()
    assert "docs/use/dicom-node.html" in readme
    assert (kit / "docs/docs/use/dicom-node.html").is_file()
