"""The floor: OpenVINO's own benchmark application, beside our bare engine under its conditions.

Both run alone, back to back, in fresh processes, with nothing in turn: a bare engine that takes
turns with other candidates finds cold caches, and the application never does.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orthoedge.benchmarks.timing.startup import Child
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.subprocesses import code_command

_APPLICATION = "openvino.tools.benchmark.main"
_LOADING_S = 120
_BARE = """
import json, statistics, sys, time
from pathlib import Path
from orthoedge.benchmarks.bare import BareInference
from orthoedge.targets.x86.build import compile_model
model, size, threads, seconds = sys.argv[1], *map(int, sys.argv[2:])
infer = BareInference(compile_model(Path(model).read_bytes(), size, threads, None), size)
infer()
times, begun = [], time.perf_counter_ns()
while not times or time.perf_counter_ns() - begun < seconds * 1e9:
    start = time.perf_counter_ns()
    infer()
    times.append((time.perf_counter_ns() - start) / 1e6)
print(json.dumps([statistics.median(times), statistics.mean(times), len(times)]))
"""


class _Results(msgspec.Struct, frozen=True):
    # The application writes its numbers as text.
    median_ms: str = msgspec.field(name="latency (ms)")
    mean_ms: str = msgspec.field(name="avg latency")
    count: str = msgspec.field(name="total number of iterations")


class _Told(msgspec.Struct, frozen=True):
    execution_results: _Results


@dataclass(frozen=True)
class FloorRun:
    """A run of the application, and one of our bare engine right after it, each alone."""

    application_ms: float
    """Median latency as the application says, to 0.01 ms."""
    application_mean_ms: float
    application_count: int
    bare_ms: float
    """Median of our bare engine in a fresh process, back to back, as the application does it."""
    bare_mean_ms: float
    bare_count: int


def floor_runs(
    bundle: Bundle, precision: Precision, threads: int, *, runs: int, seconds: int
) -> Iterator[FloorRun]:
    """Run the application and our bare engine in turn, each in a fresh process.

    Same model, one image, one request, synchronous, same threads, no pinning. The application
    fills its input with random numbers once; ours stays as it is too.

    Args:
        bundle: has the model.
        precision: which of its models.
        threads: inference threads of both.
        runs: pairs of runs.
        seconds: of each of the two in a pair, loading not counted.

    Yields:
        Each pair once it is done.

    Raises:
        MissingDependency: OpenVINO or its application is not installed.
        EngineError: it failed, or its report is not what it was.
    """
    # Asked of the package itself: looking for the module would import the package.
    package = importlib.util.find_spec("openvino")
    places = (package.submodule_search_locations or ()) if package else ()
    if not any((Path(place) / "tools/benchmark/main.py").is_file() for place in places):
        raise MissingDependency("openvino", "x86", "its benchmark application, the floor")
    size = bundle.manifest.graph.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        model.write_bytes(bundle.model(precision))
        bare = Child(_BARE, dict(os.environ), model, size, threads, seconds)
        for _ in range(runs):
            told = _ask_application(folder, size, threads, seconds)
            median, mean, count = msgspec.json.decode(
                bare.last_line(), type=tuple[float, float, int]
            )
            yield FloorRun(*told, median, mean, count)


def _ask_application(
    folder: Path, size: int, threads: int, seconds: int
) -> tuple[float, float, int]:
    """Median and mean in ms, and how many inferences they are of."""
    # Without the hint "none" the application refuses to be given threads; sync asks for latency.
    options = f"-d CPU -hint none -nstreams 1 -nireq 1 -api sync -nthreads {threads} -pin NO"
    options += f" -infer_precision f32 -shape [1,1,{size},{size}] -t {seconds} -json_stats"
    command = [*code_command(f"from {_APPLICATION} import main; main()"), *options.split()]
    command += ["-m", str(folder / "model.onnx"), "-report_type", "no_counters"]
    report = folder / "benchmark_report.json"
    report.unlink(missing_ok=True)
    try:
        ended = subprocess.run(
            [*command, "-report_folder", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds + _LOADING_S,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"benchmark_app did not end within {seconds + _LOADING_S} s") from error
    if ended.returncode != 0 or not report.is_file():
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines() or ["no word"]
        raise EngineError(f"benchmark_app failed: {said[-1]}")
    try:
        found = msgspec.json.decode(report.read_bytes(), type=_Told).execution_results
        return float(found.median_ms), float(found.mean_ms), int(found.count)
    except (msgspec.MsgspecError, ValueError) as error:
        raise EngineError(f"benchmark_app wrote a report of another form: {error}") from error
