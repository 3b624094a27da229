"""A node that runs: systemd is told so, the metrics say what it did, the self-test passes."""

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.nodes import eventually, node_settings
from tests.helpers.clinic.peers import free_port

CODE = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
def test_a_node_is_ready_sound_measured_and_tested(tmp_path, small_bundle, capsys):
    settings, metrics = node_settings(tmp_path), free_port()
    file = tmp_path / "node.toml"
    file.write_text(
        f'spool = "{settings.spool}"\n'
        f'[receiver]\nhost = "127.0.0.1"\nport = {settings.receiver.port}\n'
        "[queue]\nmin_free_mb = 1\n"
        f"[operations]\nmetrics_port = {metrics}\ngolden_s = 1\n"
        f'[engine]\nbundle = "{small_bundle.path}"\ntarget = "portable"\nthreads = 1\n'
        f'[destinations.archive]\nkind = "folder"\npath = "{tmp_path}/out"\n'
    )
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(120)
    command = [*code_command(CODE), "node", "serve", str(file)]
    process = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": f"{tmp_path}/notify"})
    try:
        assert manager.recv(4096) == b"READY=1\nWATCHDOG=1"
        assert manager.recv(4096) == b"WATCHDOG=1"
        assert main(["node", "selftest", str(file)]) == 0
        assert "archive: picture, report sent; read in the folder" in capsys.readouterr().out
        address = f"http://127.0.0.1:{metrics}/metrics"
        with urllib.request.urlopen(address, timeout=60) as answer:
            text = answer.read().decode()
        assert 'orthoedge_images{state="sent"} 1' in text
        assert 'orthoedge_objects{destination="archive",state="sent"} 2' in text
        worker = eventually(lambda: worker_of(process))
        os.kill(worker, signal.SIGSTOP)  # a worker that hangs feeds no watchdog
        silence(manager, 3)
        os.kill(worker, signal.SIGCONT)
        manager.settimeout(120)
        assert manager.recv(4096) == b"WATCHDOG=1"
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        manager.close()


def worker_of(process):
    """The process of the worker; None before there is one."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in listed}
    return next((pid for pid, command in commands.items() if b"\0worker\0" in command), None)


def silence(manager, seconds):
    """Wait until the node says nothing for so long."""
    manager.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while True:
            manager.recv(4096)


@pytest.mark.slow
def test_a_self_test_that_fails_exits_with_1(tmp_path, capsys):
    settings = node_settings(tmp_path)
    file = tmp_path / "node.toml"
    file.write_text(f'spool = "{settings.spool}"\n')
    assert main(["node", "selftest", str(file)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL  no node uses the spool")
    assert out.count("\n") == 1
