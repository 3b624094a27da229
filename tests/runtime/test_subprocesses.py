"""Subprocesses do not import modules from the working folder."""

import subprocess
from importlib import metadata

import pytest

from orthoedge.runtime.subprocesses import code_command, module_command


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ([*code_command("import sys, msgspec; print(*sys.argv[1:])"), "a", "b c"], "a b c"),
        ([*module_command("orthoedge.cli.main"), "--version"], metadata.version("orthoedge")),
    ],
)
def test_the_working_folder_is_not_searched(command, output, tmp_path):
    for name in ("msgspec", "numpy", "runpy", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (output, "")
