"""The server starts only where what it shows is protected, and the command says why it does not."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.accounts import Accounts
from orthoedge.clinic.history import History
from orthoedge.clinic.server.serve import make_state
from orthoedge.clinic.server.settings import ClinicSettings, read_clinic_settings
from orthoedge.runtime.errors import ConfigError, DataError, EngineError
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.certificates import write_certificates
from tests.helpers.clinic.pages import PATIENCE_S, Client, clinic_server, clinic_settings

PASSWORD = "a long password"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "clinic.example", "8.8.8.8"])
def test_an_address_that_others_can_reach_needs_tls(tmp_path, host):
    with pytest.raises(ConfigError, match="so it needs TLS"):
        clinic_settings(tmp_path, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_the_loopback_needs_neither(tmp_path, host):
    assert not clinic_settings(tmp_path, host=host).has_open_address


def test_an_address_that_others_can_reach_needs_an_administrator(tmp_path):
    write_certificates(tmp_path, ("server",))
    settings = clinic_settings(tmp_path / "history", host="0.0.0.0", tls=tmp_path)
    with pytest.raises(ConfigError, match="orthoedge clinic account add NAME"):
        make_state(settings)
    Accounts(tmp_path / "history").add("op", "operator", PASSWORD)
    with pytest.raises(ConfigError, match="needs accounts"):
        make_state(settings)


def test_over_tls_a_user_logs_in_and_the_cookie_stays_on_tls(tmp_path):
    write_certificates(tmp_path, ("server",))
    Accounts(tmp_path / "history").add("ada", "administrator", PASSWORD)
    settings = clinic_settings(tmp_path / "history", host="0.0.0.0", tls=tmp_path)
    with clinic_server(settings, str(tmp_path / "ca.pem")) as client:
        assert client.get("/findings").status == 401
        reply = client.log_in("ada", PASSWORD)
        assert "Secure" in reply.headers["Set-Cookie"]
        assert client.get("/findings").status == 200
        with pytest.raises(OSError):  # noqa: PT011 - the handshake fails, in one way or another
            Client(client.port).get("/session")


def test_a_certificate_that_cannot_be_used_is_named(tmp_path):
    write_certificates(tmp_path, ("server",))
    (tmp_path / "server.key").write_text("no key")
    settings = clinic_settings(tmp_path / "history", tls=tmp_path)
    with pytest.raises(ConfigError, match=r"server\.key"), clinic_server(settings):
        pass


def test_a_bundle_that_cannot_be_used_is_said_at_the_start(tmp_path):
    file = tmp_path / "clinic.toml"
    file.write_text(f'folder = "{tmp_path}/history"\n[engine]\nbundle = "{tmp_path}/none"\n')
    with pytest.raises(EngineError, match="none"):
        make_state(read_clinic_settings(file))


def test_a_precision_that_the_target_does_not_run_is_said_at_the_start(tmp_path):
    options = ("--folder", tmp_path / "history", "--no-browser", "--bundle", "phantom")
    code, _, said = command(*options, "--target", "portable", "--precision", "fp16")
    assert (code, "not fp16" in said) == (2, True)


def test_a_damaged_history_is_said_at_the_start(tmp_path):
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "history.sqlite").write_bytes(b"damaged" * 1000)
    with pytest.raises(DataError):
        make_state(clinic_settings(tmp_path / "history"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prot = 1", "prot"),
        ("port = 70000", "port must be from 0 to 65535, got 70000"),
        ('folder = "relative"', "folder must be an absolute path"),
        ("[access]\nidle_minutes = 0", "access: idle_minutes must be from 0.05"),
        ("[upload]\nmax_mb = 1000", "max_mb must be from 0.001 to 512, got 1000"),
        ("[tls]\ncertificate = 'x'", "tls: Object missing required field `key`"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path, line, said):
    file = tmp_path / "clinic.toml"
    folder = "" if line.startswith("folder") else 'folder = "/tmp/x"\n'
    file.write_text(folder + line + "\n")
    with pytest.raises(ConfigError) as error:
        read_clinic_settings(file)
    assert said in str(error.value)


def test_the_settings_of_the_documentation_can_be_read(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "use" / "clinic.md"
    blocks = page.read_text("utf-8").split("```toml\n")[1:]
    assert blocks
    for block in blocks:
        file = tmp_path / "clinic.toml"
        file.write_text(block.partition("```")[0])
        assert isinstance(read_clinic_settings(file), ClinicSettings)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_end_and_lets_listeners_go(tmp_path, how):
    command = [sys.executable, "-m", "orthoedge.cli", "clinic", "--no-browser"]
    options = ["--folder", str(tmp_path / "history"), "--port", "18420", "--bundle", "phantom"]
    with subprocess.Popen(
        [*command, *options, "--target", "portable"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert address == "http://127.0.0.1:18420/"
            with urllib.request.urlopen(f"{address}api/v1/session", timeout=PATIENCE_S) as reply:
                assert reply.status == 200
            with urllib.request.urlopen(f"{address}api/v1/events", timeout=PATIENCE_S) as events:
                assert events.readline() == b"retry: 2000\n"
                process.send_signal(how)
                assert process.wait(PATIENCE_S) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert (tmp_path / "history").stat().st_mode & 0o077 == 0


def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["clinic", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def test_accounts_are_added_listed_and_removed(tmp_path, monkeypatch):
    place = ("--folder", tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert command("account", "add", "ada", "--role", "physician", *place)[0] == 0
    assert Accounts(tmp_path).check("ada", PASSWORD)
    assert command("account", "list", *place)[1] == "ada: physician\n"
    assert command("account", "remove", "ada", *place)[0] == 0
    assert command("account", "list", *place)[1] == ""


@pytest.mark.parametrize("action", [("check",), ("backup", "b"), ("export", "e")])
def test_an_action_on_a_folder_without_a_history_makes_none(tmp_path, action):
    code, _, said = command(*action, "--folder", tmp_path)
    assert (code, "holds no history" in said) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_options_that_stand_in_the_file_are_refused_next_to_it(tmp_path):
    code, _, said = command("--settings", tmp_path / "x.toml", "--port", "8000", "check")
    assert (code, "stand in the file of --settings" in said) == (2, True)


def test_a_port_that_is_taken_is_named(tmp_path):
    with clinic_server(clinic_settings(tmp_path / "a")) as client:
        code, _, said = command("--folder", tmp_path / "b", "--port", client.port, "--no-browser")
    assert (code, said.count("\n")) == (2, 1)
    assert f"127.0.0.1, port {client.port}: in use by process {os.getpid()}: " in said
    assert "give another --port, or `port` in the file of --settings" in said


@pytest.mark.parametrize("action", [(), ("check",)])
def test_a_folder_that_is_a_file_is_named_with_its_option(tmp_path, action):
    (tmp_path / "file").touch()
    code, _, said = command("--folder", tmp_path / "file", "--no-browser", *action)
    assert (code, said) == (2, f"orthoedge: --folder {tmp_path / 'file'}: not a folder\n")


def test_the_check_of_a_history_that_was_cut_off_fails(tmp_path):
    History(tmp_path).close()
    whole = (tmp_path / "history.sqlite").read_bytes()
    for size in (900, 4096, len(whole) // 2):
        (tmp_path / "history.sqlite").write_bytes(whole[:size])
        code, out, said = command("check", "--folder", tmp_path)
        assert (code, out[:6], said) == (1, "FAIL  ", "")


def test_it_is_said_that_an_administrator_is_missing(tmp_path, monkeypatch):
    place = ("--folder", tmp_path)
    for name, role, is_missing in (("a", "physician", True), ("b", "administrator", False)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
        code, _, said = command("account", "add", name, "--role", role, *place)
        assert (code, "until there is an administrator" in said) == (0, is_missing)


def test_the_server_loads_no_library_of_images():
    code = (
        "import sys, orthoedge.clinic.server.serve, orthoedge.clinic.server.api.routes\n"
        "from orthoedge.clinic.words import LANGUAGES, catalogue\n"
        "for one in LANGUAGES: catalogue(one)\n"
        "from orthoedge.cli.options import named_bundle\n"
        "named_bundle('phantom')\n"
        "print(*sorted({'numpy', 'cv2', 'pydicom', 'openvino', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(code_command(code), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_export_replaces_a_former_one_alone(tmp_path):
    History(tmp_path / "history").close()
    place = ("--folder", tmp_path / "history")
    (tmp_path / "hand.png").write_bytes(b"a radiograph")
    code, _, said = command("export", tmp_path / "hand.png", *place)
    assert (code, "holds something else" in said) == (2, True)
    assert (tmp_path / "hand.png").read_bytes() == b"a radiograph"
    for _ in range(2):
        assert command("export", tmp_path / "opinions.csv", *place)[0] == 0
