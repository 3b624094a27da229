"""Peak memory above a baseline, each figure in a process of its own: the first call's, on Linux.

Resident memory of the process at its peak is the only count that sees what decoders and engines
allocate in C. Writing 5 to clear_refs starts it again (proc(5)).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.scaling.wording import bytes_sentence
from orthoedge.benchmarks.timing.startup import PythonProcess
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import EngineOptions, open_engine, open_model

_MB = 1e6
_PROGRAM = "from orthoedge.benchmarks.scaling.memory import serve\nserve()"
# Return large blocks to the system at once; malloc would reuse those of one call for the next.
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072"}


class ReadJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="read"):
    """Peak memory of reading, preprocessing and the whole pipeline."""

    bundle: str
    target: str
    precision: Precision
    threads: int
    tiny: dict[str, str]
    """File by kind, for a first call that loads what stays in memory."""
    large: dict[str, str]
    """File by kind, for the call that counts."""


class EngineJob(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="engine"
):
    """Peak memory of opening an engine and one run."""

    model: str
    """ONNX file with a bundle's inputs and outputs."""
    size: int
    target: str
    precision: Precision
    threads: int
    batch: int


def memory_by_pixels(setup: ScalingSetup) -> Curves:
    """Curves of MB: one process for each size, which does one thing after another."""
    files = setup.sources.files
    taken: dict[str, dict[float, float]] = {}
    for number, (rows, columns) in enumerate(setup.scope.shapes, 1):
        job = ReadJob(
            bundle=str(setup.bundle.path),
            target=setup.target,
            precision=setup.precision,
            threads=setup.threads,
            tiny={kind: str(paths[0]) for kind, paths in files.items()},
            large={kind: str(paths[number]) for kind, paths in files.items()},
        )
        for name, size in run_job(job, setup.folder).items():
            taken.setdefault(name, {})[float(rows * columns)] = size
    curves = []
    for name, sizes in taken.items():
        last = list(sizes.values())[-1]
        explanation = bytes_sentence(setup.scope.shapes[-1], last, _held(setup, name))
        of = f"{setup.name}, {name}" if name.startswith("from ") else name
        samples = {pixels: np.array([size / _MB]) for pixels, size in sizes.items()}
        curves.append(curve(of, "pixels", "MB", samples, explanation))
    return curves, []


def _held(setup: ScalingSetup, name: str) -> dict[str, float]:
    """Bytes that are certainly in memory at the end of reading the largest image."""
    kind = name.split()[-1]
    if kind not in setup.sources.files:
        return {}
    image, path = setup.sources.images[-1], setup.sources.files[kind][-1]
    held = {"the radiograph itself": float(image.size)}
    if kind != "dicom":  # uncompressed, so it is fetched a few rows at a time
        held["its file"] = float(path.stat().st_size)
    return held


def run_job(job: ReadJob | EngineJob, folder: Path) -> dict[str, float]:
    """Bytes by name, from a fresh process.

    Raises:
        EngineError: the process failed, or the system has no such count.
    """
    file = folder / "job.json"
    file.write_bytes(msgspec.json.encode(job))
    process = PythonProcess(_PROGRAM, os.environ | _GIVE_BACK, file)
    return msgspec.json.decode(process.last_line(), type=dict[str, float])


def serve() -> None:
    """Child process: run the job in the file of the first argument, and print its result."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ReadJob | EngineJob)
    curves = _read(job) if isinstance(job, ReadJob) else {"engine": _open(job)}
    print(msgspec.json.encode(curves).decode())


def peak_bytes(call: Callable[[], object]) -> int:
    """By how much resident memory rises while it runs, at its peak.

    Raises:
        EngineError: the system keeps no such count.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc: free memory goes back to the system, so that its use counts again
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
    except OSError as error:
        raise EngineError(f"peak memory cannot be counted here: {error}") from error
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def _read(job: ReadJob) -> dict[str, int]:
    bundle, options = read_bundle(Path(job.bundle)), EngineOptions(threads=job.threads)
    pipeline = Pipeline(bundle, open_engine(bundle, job.target, job.precision, options=options))
    curves = {}
    for kind in job.tiny:
        read_image(job.tiny[kind])
        curves[f"read {kind}"] = peak_bytes(partial(read_image, job.large[kind]))
    prepare = bundle.manifest.preprocess.prepare
    prepare(read_image(job.tiny["png"]).pixels)
    pixels = read_image(job.large["png"]).pixels
    curves["preprocess"] = peak_bytes(partial(prepare, pixels))
    del pixels
    pipeline(job.tiny["png"])
    curves["from png"] = peak_bytes(partial(pipeline, job.large["png"]))
    return curves


def _open(job: EngineJob) -> int:
    model = Path(job.model).read_bytes()
    images = np.zeros((job.batch, 1, job.size, job.size), np.uint8)

    def call() -> None:
        options = EngineOptions(threads=job.threads)
        open_model(model, job.size, job.target, job.precision, options=options).run(images)

    return peak_bytes(call)
