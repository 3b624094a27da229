"""Time and peak memory of `orthoedge predict FOLDER` by files: whole commands, starts inside."""

from __future__ import annotations

import os
import time

import numpy as np

from orthoedge.benchmarks.baselines.folder_throughput import write_pngs
from orthoedge.benchmarks.scaling.power_law import curve, ends
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.scaling.wording import files_sentence, risen_sentence
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


def by_files(setup: ScalingSetup, jobs: int = 1) -> Curves:
    """Milliseconds of so many processes, and MB of a single one, by files of 224×224.

    Raises:
        EngineError: a command failed.
    """
    folders = {count: setup.folder / f"files-{count}" for count in setup.scope.files}
    for count, folder in folders.items():
        if not folder.is_dir():
            folder.mkdir()
            write_pngs(folder, count, _SIDE)
    options: list[object] = ["--json", "--bundle", setup.bundle.path, "--target", setup.target]
    options += ["--precision", setup.precision, "--jobs", jobs]
    if jobs > 1:
        options += ["--threads", max(1, setup.threads // jobs)]
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in folders}
    for _ in range(setup.scope.commands):
        for count, folder in folders.items():
            process = PythonProcess(_PROGRAM, dict(os.environ), "predict", folder, *options)
            begun = time.perf_counter()
            peak = int(process.last_line()) * 1024 / 1e6  # 0: not counted on this system
            taken[count].append(((time.perf_counter() - begun) * 1e3, peak))
    times, peaks = (
        {float(count): np.array(pairs)[:, i] for count, pairs in taken.items()} for i in (0, 1)
    )
    of = "predict FOLDER" if jobs == 1 else f"predict FOLDER --jobs {jobs}"
    curves = [curve(of, "files", "ms", times, files_sentence(*ends(times)))]
    if jobs == 1 and all(peak.min() > 0 for peak in peaks.values()):
        curves.append(curve(of, "files", "MB", peaks, risen_sentence(*ends(peaks), "files")))
    return curves, []


def by_files_in_jobs(setup: ScalingSetup) -> Curves:
    """Milliseconds with as many processes as there are cores.

    Raises:
        EngineError: there is one core.
    """
    if available_cores() < 2:
        raise EngineError("there is one core")
    return by_files(setup, available_cores())
