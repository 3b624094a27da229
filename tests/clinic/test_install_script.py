"""install.sh goes back to a program that is older than the findings, and takes its units along."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orthoedge.clinic.history import History, SearchQuery
from orthoedge.clinic.history.schema import MIGRATIONS
from tests.helpers.history.findings import PIXELS, new_finding

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci/offline-kit/install.sh"
PARTS = ("benchmarks", "cli", "compression", "runtime", "targets", "training")

pytestmark = pytest.mark.slow


def release(folder, clinic):
    """A version whose programs run with another `clinic` than that of the tree."""
    package = folder / "packages/orthoedge"
    package.mkdir(parents=True)
    for part in PARTS:
        (package / part).symlink_to(ROOT / part)
    (package / "clinic").symlink_to(clinic)
    (folder / "bin").mkdir()
    for name, given in (("python", ""), ("orthoedge", "-m orthoedge.cli")):
        program = folder / "bin" / name
        lines = (
            "#!/bin/sh",
            f'PYTHONPATH="{folder}/packages" exec "{sys.executable}" {given} "$@"',
        )
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)
    (folder / "systemd").mkdir()
    (folder / "systemd/orthoedge-clinic.service").write_text(f"# of {folder.name}\n")
    (folder / ".complete").touch()


@pytest.fixture
def place(tmp_path):
    """Two versions, of which the older one reads version 2 of the findings; the newer one runs."""
    older = tmp_path / "older"
    shutil.copytree(ROOT / "clinic", older, ignore=shutil.ignore_patterns("page", "__pycache__"))
    schema = older / "history/schema.py"
    text = schema.read_text()
    schema.write_text(
        re.sub(r"^MIGRATIONS = .*$", "MIGRATIONS = (_FIRST, _SEARCH)", text, flags=re.M)
    )
    prefix = tmp_path / "prefix"
    release(prefix / "releases/1.0", older)
    release(prefix / "releases/2.0", ROOT / "clinic")
    (prefix / "current").symlink_to("releases/2.0")
    (prefix / "previous").symlink_to("releases/1.0")
    tools, units = tmp_path / "tools", tmp_path / "units"
    for folder in (tools, units):
        folder.mkdir()
    for name, does in (("systemctl", 'test "$3" != orthoedge-node'), ("useradd", ":")):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{tmp_path}/calls"\n{does}\n')
        (tools / name).chmod(0o755)
    return tmp_path


def back(place, status=0):
    command = ["sh", SCRIPT, "--back", "--prefix", place / "prefix", "--state", place / "state"]
    given = {"PATH": f"{place / 'tools'}:{os.environ['PATH']}", "UNITS": str(place / "units")}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | given)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def check(place, name):
    program = place / "prefix/releases" / name / "bin/orthoedge"
    command = [program, "clinic", "check", "--folder", place / "state"]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_version_before_reads_every_finding_and_returning_loses_none(place):
    history = History(place / "state")
    number = history.add(new_finding("Doe, Jane"), PIXELS)
    history.close()
    assert f"of version {len(MIGRATIONS)}, this program reads 2" in check(place, "1.0").stdout

    assert "1.0 runs again, with every finding" in back(place)
    assert check(place, "1.0").stdout.startswith("pass")
    assert (place / "prefix/current").readlink() == Path("releases/1.0")
    assert (place / "units/orthoedge-clinic.service").read_text() == "# of 1.0\n"
    calls = [line for line in (place / "calls").read_text().splitlines() if "is-active" not in line]
    assert [line for line in calls if line.startswith("systemctl")] == [
        "systemctl stop orthoedge-clinic",
        "systemctl daemon-reload",
        "systemctl start orthoedge-clinic",
    ]

    assert "2.0 runs again" in back(place)
    assert (place / "units/orthoedge-clinic.service").read_text() == "# of 2.0\n"
    history = History(place / "state")
    assert [one.number for one in history.search(SearchQuery(text="jane"))] == [number]
    history.close()


def test_findings_that_cannot_be_brought_back_leave_the_version_that_runs(place):
    history = History(place / "state")
    history.close()
    (place / "state/history.sqlite").write_bytes(b"damaged" * 1000)
    assert "1.0 could not read the findings" in back(place, status=2)
    assert (place / "prefix/current").readlink() == Path("releases/2.0")
    assert (place / "calls").read_text().splitlines()[-1] == "systemctl start orthoedge-clinic"


def test_without_findings_there_is_nothing_to_bring_back(place):
    assert "1.0 runs again" in back(place)
    assert not (place / "state").exists()
