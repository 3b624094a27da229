"""Run campaigns of `crash.py`, two at a time, and count what held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 2
_LIMIT_S = 1500
_SEED = 0


def campaign(action: str, counts: Mapping[str, int], folder: Path) -> tuple[int, list[str]]:
    """How many cases held, of all the jobs', and what was wrong with the others.

    Args:
        action: `kill` or `fill`.
        counts: cases per job; the longest jobs first.
        folder: for what the jobs start from and write.
    """
    _run("prepare", folder, 0, *counts)

    def one(job: str) -> dict[str, object]:
        return json.loads(_run(action, folder, counts[job], job).splitlines()[-1])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(counts, pool.map(one, counts), strict=True))
    problems = [f"{job}: {problem}" for job, one in found.items() for problem in one["problems"]]
    return sum(one["held"] for one in found.values()), problems


def _run(action: str, folder: Path, count: int, *jobs: str) -> str:
    program = Path(__file__).with_name("program.py")
    command = [sys.executable, str(program), action, str(folder), str(count), str(_SEED), *jobs]
    # Threads that a library starts on import would not live on in a fork.
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=_LIMIT_S, env=os.environ | one, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout
