"""Time and peak memory of `orthoedge predict FOLDER` by files: whole commands, starts inside."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.baselines.folder_throughput import write_pngs
from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Found, ScalingSetup
from orthoedge.benchmarks.scaling.wording import files_words, risen_words
from orthoedge.benchmarks.timing.startup import PythonProcess
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.cpu import available_cores

_SIDE = 224
_PROGRAM = """
import sys
from pathlib import Path
from orthoedge.cli.main import main
failed = main(sys.argv[1:])
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.is_file() else ["VmHWM: 0"]
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
sys.exit(failed)
"""


def by_files(given: ScalingSetup) -> Found:
    """Milliseconds and MB of one process, by files of 224×224."""
    return _measured(given, jobs=1)


def by_files_in_jobs(given: ScalingSetup) -> Found:
    """Milliseconds with as many processes as there are cores.

    Raises:
        EngineError: there is one core.
    """
    if available_cores() < 2:
        raise EngineError("there is one core")
    return _measured(given, jobs=available_cores())


def _measured(given: ScalingSetup, jobs: int) -> Found:
    folders = {count: _folder(given, count) for count in given.scope.files}
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in folders}
    for _ in range(given.scope.commands):
        for count, folder in folders.items():
            taken[count].append(_run(given, folder, jobs))
    runs = {float(count): np.array(pairs) for count, pairs in taken.items()}
    times = {count: pairs[:, 0] for count, pairs in runs.items()}
    of = "predict FOLDER" if jobs == 1 else f"predict FOLDER --jobs {jobs}"
    few, many = given.scope.files[0], given.scope.files[-1]
    where = files_words(few, _median(times[few]), many, _median(times[many]))
    found = [curve(of, "files", "ms", times, where)]
    if jobs == 1 and all(pairs[:, 1].min() > 0 for pairs in runs.values()):
        peaks = {count: pairs[:, 1] for count, pairs in runs.items()}
        rise = risen_words(few, _median(peaks[few]), many, _median(peaks[many]), "files")
        found.append(curve(of, "files", "MB", peaks, rise))
    return found, []


def _folder(given: ScalingSetup, count: int) -> Path:
    folder = given.folder / f"files-{count}"
    if not folder.is_dir():
        folder.mkdir()
        write_pngs(folder, count, _SIDE)
    return folder


def _run(given: ScalingSetup, folder: Path, jobs: int) -> tuple[float, float]:
    """Milliseconds of a whole command, and the peak MB of its first process; 0: not counted here.

    Raises:
        EngineError: the command failed.
    """
    options: Sequence[object] = (
        *("--json", "--bundle", given.bundle.path, "--target", given.target),
        *("--precision", given.precision, "--jobs", jobs),
        *("--threads", max(1, given.threads // jobs)),
    )
    process = PythonProcess(_PROGRAM, dict(os.environ), "predict", folder, *options)
    begun = time.perf_counter()
    peak = process.last_line()
    return (time.perf_counter() - begun) * 1e3, int(peak) * 1024 / 1e6


def _median(samples: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.median(samples))
