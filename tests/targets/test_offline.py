"""No verb that a device runs opens a socket or reads a pickle."""

import ast
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES

ROOT = Path(__file__).parents[2]
ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "helpers" / "offline_child.py"
DEVICE = [path for folder in ("runtime", "targets") for path in (ROOT / folder).rglob("*.py")]
# What can unpickle, or otherwise run what it reads.
RUNNING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {"socket", "ssl", "urllib", "http", "httpx", "requests", "ftplib", "smtplib", "asyncio"}

seccomp = pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter knows x86-64 only")


def offline(*arguments):
    return subprocess.run(
        [sys.executable, str(CHILD), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@seccomp
@pytest.mark.parametrize("target", ["x86", pytest.param("portable", marks=pytest.mark.slow)])
def test_verify_and_predict_work_without_sockets_and_pickles(target, tmp_path):
    for verb in (
        ["verify"],
        ["predict", PHANTOM_SAMPLES, "--json", "--overlay", tmp_path / "pictures"],
    ):
        done = offline(*verb, "--target", target)
        assert (done.returncode, done.stderr) == (0, "")


@seccomp
def test_processes_that_predict_starts_open_no_socket_either():
    done = offline("predict", PHANTOM_SAMPLES, "--json", "--jobs", "2", "--target", "portable")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(list(PHANTOM_SAMPLES.glob("*.png")))


@seccomp
@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("import socket; socket.socket()", -31),
        ("import subprocess, sys; sys.exit(subprocess.run(['true']).returncode)", 0),
        ("import pickle; pickle.loads(b'cos\\ngetpid\\n(tR.')", 77),
        ("import pickle; pickle.loads(pickle.dumps([1, 'a']))", 0),
    ],
)
def test_what_is_forbidden_is_noticed(act, status):
    """The watch itself. What names nothing, such as a list of numbers, cannot run anything."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.helpers.offline_child import refuse_pickles\n"
        "from tests.helpers.watched_child import forbid_sockets\n"
        f"forbid_sockets(); refuse_pickles(); {act}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == status, done.stderr


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_device_runs_imports_nothing_that_unpickles_or_connects(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.split(".")[0] for name in names} & (RUNNING | NETWORK)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load"), called
            if called in ("np.load", "numpy.load"):
                assert "allow_pickle=False" in ast.unparse(node)
