"""`orthoedge clinic ACTION`: each stands in the audit trail, and root leaves no file to others."""

import contextlib
import io
import os

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.history import History
from tests.helpers.history.findings import PIXELS, new_finding

ANOTHER_USER = 61184  # of none of the system's
PASSWORD = "a long password\n"
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may write everywhere"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    monkeypatch.setenv("SUDO_USER", "ada")
    history = History(tmp_path / "history")
    history.add(new_finding(), PIXELS)
    history.close()
    return tmp_path / "history"


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        code = main(["clinic", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def entries(folder):
    history = History(folder)
    trail = [(one.user, one.action, one.detail) for one in history.audit()]
    history.close()
    return trail


ACTIONS = {
    "backup": ("backed up", "1 findings"),
    "export": ("exported", "opinions"),
    "account add": ("account added", "ben: operator"),
    "account remove": ("account removed", "ben"),
    "downgrade": ("downgraded", "to version 1"),
    "restore": ("restored", "1 findings"),
}


def command_of(action, folder):
    beside = folder.parent
    arguments = {
        "backup": [beside / "backup"],
        "export": [beside / "opinions.csv"],
        "account add": ["ben", "--role", "operator"],
        "account remove": ["ben"],
        "downgrade": [1],
        "restore": [beside / "backup"],
    }
    return [*action.split(), *arguments.get(action, []), "--folder", folder]


@pytest.mark.parametrize("action", ACTIONS)
def test_who_ran_a_command_stands_in_the_audit_trail(folder, action):
    if action == "account remove":
        assert run(*command_of("account add", folder))[0] == 0
    if action == "restore":
        assert run(*command_of("backup", folder))[0] == 0
        folder = folder.with_name("new")
    assert run(*command_of(action, folder))[0] == 0
    assert entries(folder)[0] == ("shell:ada", *ACTIONS[action])


def test_the_first_account_makes_no_history_in_the_way_of_a_restore(folder):
    assert run(*command_of("backup", folder))[0] == 0
    new = folder.with_name("new")
    assert run(*command_of("account add", new))[0] == 0
    assert run(*command_of("restore", new))[0] == 0


@as_root
@pytest.mark.parametrize("action", [*ACTIONS, "check", ""])
def test_root_is_refused_in_the_folder_of_another_user(folder, action):
    os.chown(folder, ANOTHER_USER, ANOTHER_USER)
    before = sorted(folder.iterdir())
    code, _, said = run(*command_of(action, folder))
    assert (code, said.count("\n")) == (2, 1)
    assert f"belongs to user #{ANOTHER_USER}, who could not read" in said
    assert f"sudo -u '#{ANOTHER_USER}'" in said
    assert sorted(folder.iterdir()) == before


@as_root
def test_root_is_refused_in_the_backup_of_another_user(folder):
    target = folder.with_name("backup")
    target.mkdir()
    os.chown(target, ANOTHER_USER, ANOTHER_USER)
    code, _, said = run(*command_of("backup", folder))
    assert (code, list(target.iterdir())) == (2, [])
    assert "belongs to user" in said


def test_a_history_in_use_is_not_brought_back(folder):
    from orthoedge.clinic.file_system import only_one
    from orthoedge.clinic.history.history import LOCK

    with only_one(folder / LOCK, "taken", "wait"):
        code, _, said = run(*command_of("downgrade", folder))
    assert (code, said.count("\n")) == (2, 1)
    assert "uses this folder at the moment" in said
    assert entries(folder) == []


@pytest.mark.parametrize("version", ["0", "9", "-1", "two"])
def test_a_version_that_there_never_was_is_refused(folder, version):
    try:
        code = run("downgrade", version, "--folder", folder)[0]
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert entries(folder) == []
