"""The two systemd units: systemd takes them, they leave little open, and both share one history."""

import re
import subprocess
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.server.settings import ClinicSettings
from tests.helpers.clinic.programs import require

FOLDER = Path(__file__).parents[3] / "docs" / "use"
NODE, CLINIC = FOLDER / "orthoedge-node.service", FOLDER / "orthoedge-clinic.service"
each_unit = pytest.mark.parametrize("unit", [NODE, CLINIC], ids=lambda unit: unit.stem)


def setting(unit, name):
    """Value of a setting; empty where the unit has none."""
    values = re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    assert len(values) < 2
    return values[0] if values else ""


def page_command(option):
    """Arguments of the start that has an option; one of the two is commented out."""
    lines = re.findall(r"^#? *ExecStart=(\S.*)$", CLINIC.read_text(), re.MULTILINE)
    (command,) = [line.split()[1:] for line in lines if option in line]
    return command


def history_of_unit():
    command = page_command("--folder")
    return Path(command[command.index("--folder") + 1])


@each_unit
def test_systemd_takes_the_unit(unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    analyze = require("systemd-analyze")
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, timeout=120)
    ours = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert (done.returncode, ours) == (0, [])


@each_unit
def test_the_unit_leaves_little_open(unit):
    analyze = require("systemd-analyze")
    command = [analyze, "security", "--offline=true", "--threshold=25", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_run_as_one_user_that_is_not_root():
    users = {(setting(unit, "User"), setting(unit, "Group")) for unit in (NODE, CLINIC)}
    assert users == {("orthoedge", "orthoedge")}
    assert all(setting(unit, "DynamicUser") == "" for unit in (NODE, CLINIC))


def writable(unit):
    assert setting(unit, "ProtectSystem") == "strict"  # nothing else is
    return [Path("/var/lib") / name for name in setting(unit, "StateDirectory").split()]


def test_both_may_write_the_history_and_the_page_its_backup():
    history = history_of_unit()
    assert history in writable(NODE)
    assert history in writable(CLINIC)
    assert ClinicSettings(folder=str(history)).backup_folder in writable(CLINIC)


@pytest.mark.parametrize("page", ["clinic.md", "dicom-node.md", "operations.md", "offline-kit.md"])
def test_a_folder_of_the_system_in_the_docs_is_one_that_the_unit_may_write(page):
    named = re.findall(r"/var/lib/[\w./-]*\w", (FOLDER / page).read_text())
    for place in map(Path, named):
        unit = NODE if place.name == "spool" else CLINIC
        assert {place, *place.parents} & {*writable(unit)}, place


@pytest.mark.parametrize("option", ["--folder", "--settings"])
def test_each_start_of_the_page_is_a_command_that_it_takes(option, tmp_path, monkeypatch):
    settings = tmp_path / "clinic.toml"
    settings.write_text(f'folder = "{history_of_unit()}"\nport = 8499\n')
    served = []
    monkeypatch.setattr(
        "orthoedge.clinic.server.serve.serve", lambda given, _: served.append(given) or 0
    )
    replaced = {"/etc/orthoedge/clinic.toml": str(settings)}
    assert main([replaced.get(argument, argument) for argument in page_command(option)]) == 0
    assert served[0].history_folder == history_of_unit()
