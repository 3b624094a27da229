"""The promises about processes and folders: start, memory, import, throughput."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks.baselines.external import Stopwatch
from orthoedge.benchmarks.baselines.folder_throughput import (
    AsynchronousEngine,
    as_tensors,
    map_all,
    predict_folder,
    samples,
    write_pngs,
)
from orthoedge.benchmarks.baselines.minimal_pipeline import compiled_of
from orthoedge.benchmarks.machine import BackgroundLoad
from orthoedge.benchmarks.ratio_rows import Row, Setting, alone, difference, ratio_row
from orthoedge.benchmarks.timing import startup
from orthoedge.benchmarks.timing.latency import Timings, interleaved
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.targets import EngineOptions, check_target, open_pipeline

START_LIMITS_S = {"compiled": 0.6, "from the cache": 0.4}
MEMORY_LIMIT_MB, IMPORT_LIMIT_MS, FOLDER_LIMIT = 160.0, 60.0, 0.9

_SIDE, _IMAGES, _ARCHIVE = 224, 400, 2000
_PROCESS = "on a sample PNG; bytecode lies compiled, and files in the system's memory"


def start(setting: Setting) -> list[Row]:
    """From the creation of a process to its first finding.

    Raises:
        MissingDependency: OpenVINO is not installed.
        EngineError: a process failed.
    """
    check_target("x86")
    clock, others = Stopwatch(), BackgroundLoad()
    with startup.first_findings(setting.bundle.path, samples()[0], setting.threads) as children:
        calls = {name: clock.told(child.to_first_line) for name, child in children.items()}
        times = interleaved(calls, rounds=setting.fewer(10), warmup=1, settle=0, clock=clock.read)
    cores = others.cores()
    note = f"from the creation of the process to its first finding {_PROCESS}"
    return [
        _alone("start", name, Timings(times[name].samples_ms / 1e3), "s", limit, cores, note)
        for name, limit in START_LIMITS_S.items()
    ]


def memory(setting: Setting) -> list[Row]:
    """Peak resident memory of a process with one finding.

    Raises:
        MissingDependency: OpenVINO is not installed.
        EngineError: a process failed.
    """
    check_target("x86")
    others, rounds = BackgroundLoad(), setting.fewer(40)
    with startup.first_findings(setting.bundle.path, samples()[0], setting.threads) as children:
        peaks = {
            name: [int(child.last_line()) * 1024 / 1e6 for _ in range(rounds + 1)][1:]
            for name, child in children.items()
        }
    cores = others.cores()
    note = f"VmHWM, in 10^6 bytes, after the first finding {_PROCESS}"
    return [
        _alone("memory", name, Timings(np.array(found)), "MB", MEMORY_LIMIT_MB, cores, note)
        for name, found in peaks.items()
    ]


def imports(setting: Setting) -> list[Row]:
    """What importing the runtime takes beyond numpy and OpenCV.

    Raises:
        EngineError: a process failed.
    """
    clock, others = Stopwatch(), BackgroundLoad()
    with startup.installed() as environment:
        base = startup.Child(startup.IMPORT_BASE, environment)
        ours = startup.Child(startup.IMPORT_OURS, environment)
        calls = {
            "ours": clock.told(ours.to_first_line),
            "base": clock.told(base.to_first_line),
        }
        times = interleaved(calls, rounds=setting.fewer(5), warmup=1, settle=0, clock=clock.read)
    row = ratio_row(
        "import",
        ("orthoedge.runtime.pipeline", times["ours"]),
        ("numpy and cv2", times["base"]),
        limit=IMPORT_LIMIT_MS,
        at_least=False,
        others_cores=others.cores(),
        note="whole processes; the figure is the median of what each round's took longer; "
        "bytecode lies compiled",
    )
    figure = difference(times["ours"], times["base"])
    return [msgspec.structs.replace(row, figure=figure, figure_unit="ms")]


def folder(setting: Setting) -> list[Row]:
    """Images per second of a folder: against the engine's own queue, and of two processes.

    Raises:
        MissingDependency: OpenVINO is not installed.
        EngineError: a file had no finding, or a process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        paths = write_pngs(Path(name), _ARCHIVE, _SIDE)
        return [_overlapped(setting, paths[:_IMAGES]), _archive(setting, Path(name))]


def _overlapped(setting: Setting, paths: list[Path]) -> Row:
    cores = setting.threads
    pipeline = open_pipeline(
        setting.bundle, target="x86", engine=EngineOptions(threads=cores, streams=cores)
    )
    prepare = setting.bundle.manifest.preprocess
    tensors = as_tensors([prepare(read_image(path).pixels) for path in paths])
    queue = AsynchronousEngine(compiled_of(pipeline))
    others = BackgroundLoad()
    calls = {"map": map_all(pipeline, paths, cores), "queue": lambda: queue(tensors)}
    times = interleaved(calls, rounds=setting.fewer(20), warmup=1, settle=0)
    row = ratio_row(
        "folder",
        (f"Pipeline.map, {cores} workers", times["map"]),
        ("asynchronous engine", times["queue"]),
        limit=FOLDER_LIMIT,
        at_least=True,
        others_cores=others.cores(),
        note=f"{len(paths)} PNG files of {_SIDE}×{_SIDE}, {cores} streams; the engine is given "
        "prepared squares from memory and nobody reads its answers",
    )
    return _per_second(row, len(paths))


def _archive(setting: Setting, folder: Path) -> Row:
    bundle, others = setting.bundle.path, BackgroundLoad()
    calls = {f"--jobs {jobs}": predict_folder(bundle, folder, jobs) for jobs in (2, 1)}
    times = interleaved(calls, rounds=setting.fewer(40), warmup=0, settle=0)
    two, one = times.items()
    row = ratio_row(
        "folder",
        two,
        one,
        limit=None,
        at_least=True,
        others_cores=others.cores(),
        note=f"orthoedge predict FOLDER, {_ARCHIVE} PNG files of {_SIDE}×{_SIDE}; whole commands, "
        "starts inside and nothing subtracted",
    )
    return _per_second(row, _ARCHIVE)


def _per_second(row: Row, images: int) -> Row:
    assert row.other_value is not None  # rows of two candidates come in here
    return msgspec.structs.replace(
        row,
        ours_value=images / row.ours_value * 1e3,
        other_value=images / row.other_value * 1e3,
        unit="images/s",
    )


def _alone(
    name: str, what: str, found: Timings, unit: str, limit: float, cores: float | None, note: str
) -> Row:
    return Row(
        name=name,
        ours=what,
        ours_value=found.p50,
        other="",
        other_value=None,
        unit=unit,
        figure=alone(found),
        figure_unit=unit,
        limit=limit,
        at_least=False,
        rounds=len(found.samples_ms),
        others_cores=cores,
        note=note,
    )
