"""The promises about one call: against the seeds' way, the bare calls, logits alone, a reader."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from orthoedge.benchmarks.baselines import sample_files
from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.baselines.minimal_pipeline import (
    BareInference,
    BareWay,
    compiled_of,
    logits_only,
    read_dicom_bare,
)
from orthoedge.benchmarks.baselines.pytorch_gradcam import SeedsPipeline
from orthoedge.benchmarks.machine import BackgroundLoad
from orthoedge.benchmarks.ratio_rows import Row, Setting, ratio_row
from orthoedge.benchmarks.timing.latency import interleaved
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import EngineOptions, open_pipeline
from orthoedge.targets.x86.compile import compile_model

_Calls = dict[str, Callable[[], object]]

SEEDS_LIMIT, BARE_LIMIT, MAP_LIMIT, DICOM_LIMIT = 150.0, 1.10, 1.05, 1.25

SIDE = 512
_ROWS, _COLUMNS = 3000, 2500
WARMUP = 10
_AFTER_PYTORCH = 16
_OURS = "pipeline"


def seeds(setting: Setting) -> list[Row]:
    """The pipeline against two PyTorch networks explained by pytorch-grad-cam.

    Raises:
        MissingDependency: a package of the seeds' way, or OpenVINO, is not installed.
    """
    pixels, pipeline = sample(SIDE), open_default(setting)
    way = SeedsPipeline(setting.threads)
    others, rounds = BackgroundLoad(), setting.fewer(4)
    calls: _Calls = {_OURS: lambda: pipeline(pixels), "seeds": lambda: way(pixels)}
    # PyTorch's threads go on spinning for milliseconds, and would still run beside a first call.
    settle = {_OURS: _AFTER_PYTORCH, "seeds": 1}
    times = interleaved(calls, rounds=rounds, warmup=2, settle=settle)
    note = (
        f"8-bit {SIDE}×{SIDE} in memory to decision and map; random weights in the seeds' way; "
        f"{_AFTER_PYTORCH} untimed calls before each timed one of ours"
    )
    return [
        ratio_row(
            "seeds",
            (_OURS, times[_OURS]),
            ("the seeds' way", times["seeds"]),
            limit=SEEDS_LIMIT,
            at_least=True,
            others_cores=others.cores(),
            note=note,
        )
    ]


def bare(setting: Setting) -> list[Row]:
    """The pipeline against the calls of OpenCV and OpenVINO that it cannot do without."""
    pixels, pipeline = sample(SIDE), open_default(setting)
    way = BareWay(pipeline, pixels)
    others = BackgroundLoad()
    calls: _Calls = {_OURS: lambda: pipeline(pixels), "bare": way}
    times = interleaved(calls, rounds=setting.rounds, warmup=WARMUP)
    note = (
        f"8-bit {SIDE}×{SIDE} in memory; bare is halving, resizing and CLAHE into the memory "
        "of one request of the same compiled model, without field, faults, look and decision"
    )
    return [
        ratio_row(
            "bare",
            (_OURS, times[_OURS]),
            ("bare calls", times["bare"]),
            limit=BARE_LIMIT,
            at_least=False,
            others_cores=others.cores(),
            note=note,
        )
    ]


def saliency(setting: Setting) -> list[Row]:
    """The whole model against the same model cut down to its logits, both by bare inference.

    Raises:
        MissingDependency: onnx or OpenVINO is not installed.
    """
    pipeline = open_default(setting)
    manifest = setting.bundle.manifest
    cut = logits_only(setting.bundle, pipeline.engine.precision)
    size = manifest.graph.size
    whole = BareInference(compiled_of(pipeline), size)
    logits = BareInference(compile_model(cut, size, setting.threads, None), size)
    for inference in (whole, logits):
        inference.image[0, 0] = manifest.preprocess(sample(SIDE))
    others = BackgroundLoad()
    times = interleaved({_OURS: whole, "logits": logits}, rounds=setting.rounds, warmup=WARMUP)
    note = "inference alone, on one image: logits, map and features against the logits"
    return [
        ratio_row(
            "map",
            ("the whole model", times[_OURS]),
            ("logits alone", times["logits"]),
            limit=MAP_LIMIT,
            at_least=False,
            others_cores=others.cores(),
            note=note,
        )
    ]


def dicom(setting: Setting) -> list[Row]:
    """A large DICOM file to a finding, against reading and windowing it by hand.

    Raises:
        MissingDependency: pydicom or OpenVINO is not installed.
    """
    pipeline, rounds = open_default(setting), setting.fewer(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "radiograph.dcm"
        write_dicom(path)
        others = BackgroundLoad()
        calls: _Calls = {_OURS: lambda: pipeline(path), "read": lambda: read_dicom_bare(path)}
        times = interleaved(calls, rounds=rounds, warmup=3)
    note = (
        f"{_ROWS}×{_COLUMNS}, {sample_files.BITS} bits, uncompressed, with a window, from a "
        "file that the system holds in memory; ours goes on to preprocessing, inference, map and "
        "decision"
    )
    return [
        ratio_row(
            "dicom",
            (_OURS, times[_OURS]),
            ("pydicom and window", times["read"]),
            limit=DICOM_LIMIT,
            at_least=False,
            others_cores=others.cores(),
            note=note,
        )
    ]


def write_dicom(path: Path) -> None:
    """Write a phantom as an uncompressed 14-bit digital radiograph of a detector's size.

    Raises:
        MissingDependency: pydicom is not installed.
    """
    grey = cv2.resize(sample(SIDE), (_COLUMNS, _ROWS), interpolation=cv2.INTER_LINEAR)
    sample_files.write_dicom(path, np.asarray(grey, np.uint8))


def open_default(setting: Setting) -> Pipeline:
    """The pipeline as an embedder gets it, but for the threads."""
    return open_pipeline(
        setting.bundle, target="x86", engine=EngineOptions(threads=setting.threads)
    )
