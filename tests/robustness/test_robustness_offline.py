"""Promise 6: a device's verbs work with sockets denied by the kernel and pickles by the hook."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES

pytestmark = pytest.mark.slow
CHILD = Path(__file__).parents[1] / "helpers" / "offline_child.py"
ENGINES = [
    ["--target", target, "--precision", precision]
    for target, precision in itertools.product(("x86", "portable"), ("int8", "fp32"))
]


def test_predict_verify_and_benchmark_open_no_socket_and_read_no_pickle(tally, tmp_path):
    runs = [["verify", *engine] for engine in ENGINES]
    runs += [["predict", PHANTOM_SAMPLES, "--json", *engine] for engine in ENGINES]
    for more in (["--jobs", "2"], ["--isolate"], ["--cache", tmp_path / "cache"]):
        runs.append(["predict", PHANTOM_SAMPLES, "--json", *more])
    benchmark = ["benchmark", "--quick", "--no-seeds", "--target", "portable"]
    runs.append([*benchmark, "--out", tmp_path / "report"])
    failed = []
    for run in runs:
        command = [sys.executable, str(CHILD), *map(str, run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        if done.returncode:
            failed.append(f"{' '.join(map(str, run))}: {done.returncode} {done.stderr[-300:]}")
    note = failed[0] if failed else "runs of the command line"
    tally("no socket, no pickle", len(runs) - len(failed), 12, note)
