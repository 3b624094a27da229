"""The whole way: a unit sends an image, results stand where the image was sent on to."""

import contextlib
import json
import os
import queue
import signal
import subprocess
from pathlib import Path

import pydicom
import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.nodes import Lines, eventually, image, new_image, node_settings, store
from tests.helpers.clinic.peers import TITLE, free_port, server, storescp, wait_for_port
from tests.helpers.clinic.programs import run

COMMITMENT = "1.2.840.10008.1.20.1"


@pytest.fixture
def written(tmp_path, small_bundle):
    """Call it with the port of the archive for the file and the settings of a node."""

    def write(archive_port, more=""):
        settings = node_settings(tmp_path)
        file = tmp_path / "node.toml"
        file.write_text(
            f'spool = "{settings.spool}"\n'
            f'[receiver]\nhost = "127.0.0.1"\nport = {settings.receiver.port}\n'
            "[queue]\nmin_free_mb = 1\n[sending]\nretry_s = 0.1\n"
            f'[engine]\nbundle = "{small_bundle.path}"\ntarget = "portable"\nthreads = 1\n'
            '[destinations.pacs]\nkind = "dicom"\nhost = "127.0.0.1"\n'
            f'port = {archive_port}\nae_title = "{TITLE}"\n{more}'
        )
        return file, settings

    return write


@contextlib.contextmanager
def node(file, settings, *, is_killed=False):
    """A node that listens; it must end cleanly on SIGTERM, unless the test kills it."""
    code = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = [*code_command(code), "node", "serve", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for_port(settings.receiver.port)
        yield process
        if is_killed:
            return
        process.terminate()
        _, log = process.communicate(timeout=60)
        lines = [json.loads(line) for line in log.splitlines()]
        assert process.returncode == 0
        assert {line["process"] for line in lines if line["event"] == "ended"} == {
            *("node", "receiver", "worker", "sender")
        }
        assert b"Doe" not in log  # the patient's name
    finally:
        process.kill()
        print(process.communicate()[1].decode())  # shown with a failure


def children(process):
    """Process by role."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    roles = {}
    for child in listed:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if len(words) > 3:  # none has those that have just ended
            roles[words[-3].decode()] = int(child)
    return roles


def counts(file, capsys):
    """State by image or destination, as `orthoedge node status --json` shows it."""
    capsys.readouterr()
    assert main(["node", "status", str(file), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(line["what"], line["state"]): line["count"] for line in lines}


@pytest.mark.slow
def test_storescu_to_storescp_through_the_node(written, tmp_path, capsys):
    came = tmp_path / "archive"
    came.mkdir()
    with storescp(came, "+xa") as port:
        file, settings = written(port, "forward_original = true\n")
        sent = image(tmp_path)
        with node(file, settings):
            command = ["-aet", "ROOM1", "-aec", settings.ae_title]
            for _ in range(2):  # a unit that did not hear the answer sends again
                address = ("127.0.0.1", str(settings.receiver.port))
                assert run("storescu", *command, *address, sent)[0] == 0
            eventually(lambda: counts(file, capsys).get(("image", "sent")) == 1, patience=120)
        objects = [pydicom.dcmread(path) for path in came.iterdir()]
        assert sorted(each.Modality for each in objects) == ["CR", "OT", "SR"]
        assert {each.StudyInstanceUID for each in objects} == {"1.2.826.0.1.1"}
        (original,) = (each for each in objects if each.SOPInstanceUID == "1.2.3")
        assert original.PixelData == pydicom.dcmread(sent).PixelData
    assert counts(file, capsys) == {("image", "sent"): 1, ("pacs", "sent"): 3}


@pytest.mark.slow
def test_commitment_is_asked_for_and_its_report_confirms(written, tmp_path, capsys):
    from pynetdicom import evt

    requests = queue.Queue()

    def act(event):
        requests.put(event.action_information)
        return 0, None

    def offer(entity):
        entity.add_supported_context(COMMITMENT)

    with server(handlers=[(evt.EVT_N_ACTION, act)], prepare=offer) as port:
        file, settings = written(port, 'results = ["report"]\ncommitment = true\n')
        with node(file, settings):
            assert store(settings, image(tmp_path)).Status == 0
            assert report(settings, requests.get(timeout=60)) == 0
            assert counts(file, capsys) == {("image", "confirmed"): 1, ("pacs", "confirmed"): 1}


def report(settings, request):
    """Confirm what was asked for on a new association, as archives do."""
    from pynetdicom import AE
    from pynetdicom.presentation import build_role

    entity = AE(TITLE)
    entity.add_requested_context(COMMITMENT)
    roles = [build_role(COMMITMENT, scp_role=True)]
    port = settings.receiver.port
    association = entity.associate("127.0.0.1", port, ext_neg=roles, ae_title=settings.ae_title)
    status, _ = association.send_n_event_report(request, 1, COMMITMENT, f"{COMMITMENT}.1")
    association.release()
    return status.Status


@pytest.mark.slow
def test_killed_processes_come_back_and_every_image_is_sent_once(written, tmp_path, capsys):
    came = []

    def keep(event):
        came.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    with server(store=keep) as port:
        file, settings = written(port, 'results = ["report"]\n')
        with node(file, settings) as process:
            for number in range(6):
                sent = image(tmp_path, f"1.2.{number}")
                eventually(lambda: is_stored(settings, sent), patience=120)  # noqa: B023
                role = ("receiver", "worker", "sender")[number % 3]
                pid = eventually(lambda: children(process).get(role))  # noqa: B023
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: counts(file, capsys).get(("image", "sent")) == 6, patience=240)
    assert len(set(came)) == 6
    assert counts(file, capsys) == {("image", "sent"): 6, ("pacs", "sent"): 6}


def is_stored(settings, file):
    with contextlib.suppress(AssertionError):  # not listening again yet
        return store(settings, file).get("Status") == 0
    return False


@pytest.mark.slow
def test_processes_end_with_a_supervisor_that_is_killed(written):
    file, settings = written(free_port())
    with node(file, settings, is_killed=True) as process:
        pids = list(children(process).values())
        assert len(pids) == 3
        process.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), patience=60)


@pytest.mark.slow
def test_a_node_whose_bundle_is_missing_ends_and_says_so(written, small_bundle):
    file, _ = written(free_port())
    file.write_text(file.read_text().replace(str(small_bundle.path), "/no/bundle"))
    code = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [*code_command(code), "node", "serve", str(file)], capture_output=True, timeout=120
    )
    assert ended.returncode == 2
    lines = ended.stderr.decode().splitlines()
    assert lines[-1] == "orthoedge: the worker cannot run; its own line above says why"
    (reason,) = (line for line in lines if '"cannot run"' in line)
    assert "/no/bundle" in reason


def test_a_node_ends_at_its_start_where_a_result_cannot_be_made(written, tmp_path, monkeypatch):
    (tmp_path / "typst.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)  # of its processes too
    file, settings = written(free_port(), 'results = ["pdf"]\n')
    Spool(settings.folder).add_image(image(tmp_path), new_image())
    code = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [*code_command(code), "node", "serve", str(file)], capture_output=True, timeout=120
    )
    assert ended.returncode == 2
    (reason,) = (line for line in ended.stderr.decode().splitlines() if '"cannot run"' in line)
    assert "pip install 'orthoedge[report]'" in reason
    spool = Spool(settings.folder)
    assert spool.next_image().attempts == 1  # no attempt was made of it
    spool.close()


def test_a_target_that_does_not_exist_is_refused_before_anything_starts(written, capsys):
    file, settings = written(free_port())
    file.write_text(file.read_text().replace('"portable"', '"portabel"'))
    assert main(["node", "serve", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "target must be one of x86, portable, jetson, got 'portabel'" in error
    assert not settings.folder.exists()


def test_a_second_node_on_the_spool_is_refused(written, capsys):
    from orthoedge.clinic.node import _only_node

    file, settings = written(free_port())
    with _only_node(settings):
        before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            assert main(["node", "serve", str(file)]) == 2
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another node uses this spool" in error


def test_nothing_of_libraries_and_threads_passes_the_log_of_a_process():
    code = (
        "import logging, threading, warnings\n"
        "from orthoedge.clinic.child import _keep_to_the_log\n"
        "from orthoedge.clinic.log import Log\n"
        "_keep_to_the_log(Log('receiver'))\n"
        "def fails():\n    raise ValueError('Doe^Jane')\n"
        "thread = threading.Thread(target=fails)\nthread.start()\nthread.join()\n"
        "warnings.warn('Doe^Jane')\n"
        "for name in ('pydicom', 'pynetdicom.dul', 'typst'):\n"
        "    logging.getLogger(name).error('Doe^Jane')\n"
        "from pydicom.dataset import Dataset\n"
        "Dataset().StudyInstanceUID = 'Doe^Jane'\n"
    )
    ended = subprocess.run(code_command(code), capture_output=True, timeout=120, check=True)
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["event"] == "thread failed unexpectedly"
    assert b"Doe" not in ended.stdout + ended.stderr


def test_a_process_that_the_system_cannot_start_is_started_later(monkeypatch):
    from orthoedge.clinic import node as node_module

    def fails(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    lines = Lines()
    process = node_module._Process("worker", [], lines)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fails)
        for _ in range(3):
            process._start_at = 0.0
            process.step()
    waits = [line["in_s"] for line in lines.lines]
    assert (waits, lines.lines[0]["reason"]) == ([0, 1, 3], "Resource temporarily unavailable")
    process._command, process._start_at = code_command("sys.exit(2)"), 0.0
    process.step()
    process._process.wait(60)
    process.step()  # no start of the node any more: it does not end it
    assert lines.lines[-1]["reason"] == "exit status 2"
