"""OpenVINO's benchmark_app, and our minimal inference under the same conditions.

Both run alone, in fresh processes, one after the other. They are not interleaved with the other
candidates: a candidate that is finds cold caches, which benchmark_app never does.
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

from orthoedge.benchmarks.timing.startup import PythonProcess
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.subprocesses import code_command

_APPLICATION = "openvino.tools.benchmark.main"
_LOADING_S = 120
_MINIMAL = """
import statistics, sys, time
from pathlib import Path
from orthoedge.benchmarks.baselines.minimal_pipeline import MinimalInference
from orthoedge.targets.x86.compile import compile_model
model, size, threads, seconds = sys.argv[1], *map(int, sys.argv[2:])
infer = MinimalInference(compile_model(Path(model).read_bytes(), size, threads, None), size)
infer()
times, begun = [], time.perf_counter_ns()
while not times or time.perf_counter_ns() - begun < seconds * 1e9:
    start = time.perf_counter_ns()
    infer()
    times.append((time.perf_counter_ns() - start) / 1e6)
print(statistics.median(times))
"""


@dataclass(frozen=True)
class BenchmarkAppRun:
    """A run of benchmark_app, and one of our minimal inference right after it, each alone."""

    application_ms: float
    """Median latency that benchmark_app reports, to 0.01 ms."""
    minimal_ms: float
    """Median latency of our minimal inference in a fresh process, call after call."""


def run_benchmark_app(
    bundle: Bundle, precision: Precision, threads: int, *, runs: int, seconds: int
) -> Iterator[BenchmarkAppRun]:
    """Run benchmark_app and our minimal inference alternately, each in a fresh process.

    Same model, one image, one request, synchronous, same threads, no pinning. Both keep the same
    input for all calls, and each run takes so many seconds without loading.

    Yields:
        Each pair of runs.

    Raises:
        MissingDependency: OpenVINO or benchmark_app is not installed.
        EngineError: benchmark_app failed, or its report has an unknown form.
    """
    # find_spec of a submodule would import OpenVINO.
    package = importlib.util.find_spec("openvino")
    places = (package.submodule_search_locations or ()) if package else ()
    if not any((Path(place) / "tools/benchmark/main.py").is_file() for place in places):
        raise MissingDependency("openvino", "x86", "its benchmark_app")
    size = bundle.manifest.graph.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        model.write_bytes(bundle.model(bundle.manifest.key_for("x86", precision)))
        minimal = PythonProcess(_MINIMAL, dict(os.environ), model, size, threads, seconds)
        for _ in range(runs):
            application_ms = _run_application(folder, size, threads, seconds)
            yield BenchmarkAppRun(application_ms, float(minimal.last_line()))


def _run_application(folder: Path, size: int, threads: int, seconds: int) -> float:
    """Median latency in ms."""
    # Without the hint "none" benchmark_app refuses a number of threads.
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
        output = (ended.stderr.strip() or ended.stdout.strip()).splitlines() or ["no output"]
        raise EngineError(f"benchmark_app failed: {output[-1]}")
    try:
        decoded = msgspec.json.decode(report.read_bytes())
        return float(decoded["execution_results"]["latency (ms)"])  # a number written as text
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        raise EngineError(f"benchmark_app wrote a report of an unknown form: {error}") from error
