"""What only one process may do is refused to a second one, and a kill leaves no lock behind."""

import contextlib
import io
import os
import signal
import subprocess
import sys

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.accounts import Accounts
from orthoedge.clinic.file_system import only_one
from orthoedge.clinic.history import History
from orthoedge.clinic.history.backup import back_up, restore
from orthoedge.clinic.history.history import LOCK
from orthoedge.clinic.watch.settings import claim_folders
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.runtime.subprocesses import code_command, module_command
from tests.helpers.clinic.nodes import free_port
from tests.helpers.history.findings import PIXELS, new_finding

_HOLD = """
from pathlib import Path
from orthoedge.clinic.file_system import only_one
with only_one(Path(sys.argv[1]), "taken", "wait") as describe:
    describe(", at the door")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(lock):
    """A process that holds a lock."""
    command = [*code_command(_HOLD), str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def not_served(monkeypatch):
    """A watch that is not refused ends at once."""
    monkeypatch.setattr("orthoedge.clinic.node.serve", lambda *_: 99)


def run(*arguments):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main([*map(str, arguments)])
    return code, err.getvalue()


def test_the_second_one_hears_who_the_first_is_and_a_kill_frees_the_lock(tmp_path):
    lock = tmp_path / "lock"
    with holder(lock) as process:
        with pytest.raises(DataError) as error, only_one(lock, "taken", "wait"):
            pass
        assert str(error.value) == f"taken (process {process.pid}, at the door); wait"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with only_one(lock, "taken", "wait"):
            assert lock.read_text() == f"process {os.getpid()}"


def test_a_second_server_on_a_history_is_refused_until_the_first_is_killed(tmp_path):
    port = free_port()
    options = ["--no-browser", "--folder", str(tmp_path), "--bundle", "phantom"]
    options += ["--target", "portable"]
    command = [*module_command("orthoedge.cli"), "clinic", *options, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
            code, said = run("clinic", *options, "--port", free_port())
            assert (code, said.count("\n")) == (2, 1)
            assert f"(process {first.pid}, http://127.0.0.1:{port}/)" in said
            assert "give this one another --folder" in said
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
                assert second.stdout.readline().startswith("http://")
                second.terminate()
        finally:
            first.kill()


@pytest.mark.parametrize("what", ["backup", "restore", "server"])
def test_a_folder_that_a_server_or_a_backup_uses_takes_no_other(tmp_path, what):
    history = History(tmp_path / "history")
    history.add(new_finding(), PIXELS)
    back_up(history, tmp_path / "backup")
    new = tmp_path / "new"
    new.mkdir()
    history.close()
    commands = {
        "backup": ("backup", new, "--folder", tmp_path / "history"),
        "restore": ("restore", tmp_path / "backup", "--folder", new),
        "server": ("--no-browser", "--folder", new),
    }
    with only_one(new / LOCK, "", ""):
        code, said = run("clinic", *commands[what])
    assert (code, said.count("\n")) == (2, 1)
    assert f"uses this folder (process {os.getpid()})" in said.replace(" at the moment", "")
    assert [file.name for file in new.iterdir()] == [LOCK]


def test_a_history_that_was_made_during_a_restore_stays(tmp_path, monkeypatch):
    for name in ("history", "other"):
        history = History(tmp_path / name)
        history.add(new_finding(name), PIXELS)
        history.close()
    history = History(tmp_path / "history")
    back_up(history, tmp_path / "backup")
    history.close()
    from orthoedge.clinic.history import backup as module

    copy = module._copy_pixels

    def copy_late(*arguments):
        History(tmp_path / "new").close()  # of a node, at the worst moment
        return copy(*arguments)

    monkeypatch.setattr(module, "_copy_pixels", copy_late)
    with pytest.raises(ConfigError, match="holds a history"):
        restore(tmp_path / "backup", tmp_path / "new")


@pytest.mark.parametrize("place", ["out", "out/.orthoedge", "elsewhere"])
def test_a_second_watch_on_results_or_spool_is_refused(tmp_path, place):
    watched, out = tmp_path / "in", tmp_path / "out"
    watched.mkdir()
    out.mkdir()
    spool = tmp_path / "elsewhere" if place == "elsewhere" else out / ".orthoedge"
    options = ["watch", watched, "--results", out, "--spool", spool, "--target", "portable"]
    with claim_folders(watched, {"--results": tmp_path / place}):
        code, said = run(*options)
    assert (code, said.count("\n")) == (2, 1)
    assert f"{tmp_path / place}: another orthoedge watch uses this folder" in said


@pytest.mark.parametrize("option", ["--results", "--spool"])
def test_a_folder_of_results_or_a_spool_stays_with_its_watched_folder(tmp_path, option):
    first, second, out = (tmp_path / name for name in ("a", "b", "out"))
    first.mkdir()
    second.mkdir()
    places = {"--results": tmp_path / "one", "--spool": tmp_path / "two", option: out}
    with claim_folders(first, {option: out}):
        pass
    with claim_folders(first, {option: out}):  # a restart
        pass
    arguments = [part for pair in places.items() for part in pair]
    code, said = run("watch", second, *arguments, "--target", "portable")
    assert (code, said.count("\n")) == (2, 1)
    assert f"{out}: belongs to the watched folder {first}" in said


def test_a_refused_watch_leaves_the_settings_of_the_one_that_runs(tmp_path, not_served):
    first, second, spool = (tmp_path / name for name in ("a", "b", "spool"))
    for folder in (first, second, spool):
        folder.mkdir()
    (spool / "settings.toml").write_text("of the first")
    options = ["--results", tmp_path / "out", "--spool", spool, "--target", "portable"]
    with claim_folders(first, {"--spool": spool}):
        code, said = run("watch", second, *options)
    assert code == 2
    assert "another --spool" in said
    assert (spool / "settings.toml").read_text() == "of the first"
    assert not (tmp_path / "out" / ".orthoedge-watch").exists()  # nor is it claimed


@pytest.mark.parametrize("at_once", [True, False])
def test_a_destination_of_settings_belongs_to_one_watched_folder(tmp_path, not_served, at_once):
    first, second, out = (tmp_path / name for name in ("a", "b", "out"))
    first.mkdir()
    second.mkdir()
    settings = tmp_path / "node.toml"
    settings.write_text(
        f'spool = "{tmp_path / "spool"}"\n[destinations.x]\nkind = "folder"\npath = "{out}"\n'
        f'[destinations.y]\nkind = "folder"\npath = "{out}/"\n'
    )
    with contextlib.ExitStack() as held:
        running = held.enter_context(contextlib.ExitStack())
        running.enter_context(claim_folders(first, {"--results": out}))
        if not at_once:
            running.close()
        code, said = run("watch", second, "--settings", settings)
    assert (code, said.count("\n")) == (2, 1)
    refusal = (
        "another orthoedge watch uses" if at_once else f"belongs to the watched folder {first}"
    )
    assert f"{out}: {refusal}" in said
    assert "path in [destinations." in said


def test_a_refusal_names_all_that_keeps_a_folder(tmp_path, not_served):
    first, second, out = (tmp_path / name for name in ("a", "b", "out"))
    first.mkdir()
    second.mkdir()
    with claim_folders(first, {"--results": out, "--spool": out / ".orthoedge"}):
        pass
    said = run("watch", second, "--results", out, "--target", "portable")[1]
    owners = [out / ".orthoedge-watch", out / ".orthoedge" / ".orthoedge-watch"]
    assert f"delete {owners[0]} and {owners[1]} if" in said


def test_accounts_are_changed_by_one_command_at_a_time(tmp_path):
    accounts = Accounts(tmp_path)
    accounts.add("ada", "physician", "a long password")
    with (
        only_one(tmp_path / ".orthoedge-accounts.lock", "", ""),
        pytest.raises(DataError, match="another command changes the accounts"),
    ):
        accounts.remove("ada")
    assert accounts.names() == ["ada"]


def test_the_lock_of_a_server_is_not_held_by_a_process_it_starts(tmp_path):
    lock = tmp_path / "lock"
    with only_one(lock, "taken", "wait"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with only_one(lock, "taken", "wait"):
            pass
    finally:
        child.communicate(b"\n")
