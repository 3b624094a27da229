"""The promises about one call: against the seeds' way, the bare calls, logits alone, a reader."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from orthoedge.benchmarks.bare import (
    BareInference,
    BareWay,
    compiled_of,
    logits_only,
    read_dicom_bare,
)
from orthoedge.benchmarks.folders import sample
from orthoedge.benchmarks.latency import interleaved
from orthoedge.benchmarks.machine import Bystanders
from orthoedge.benchmarks.ratio_rows import Row, Setting, ratio_row
from orthoedge.benchmarks.seeds import SeedsPipeline
from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import open_pipeline
from orthoedge.targets.x86.build import compile_model

_Calls = dict[str, Callable[[], object]]

SEEDS_LIMIT, BARE_LIMIT, MAP_LIMIT, DICOM_LIMIT = 150.0, 1.10, 1.05, 1.25

SIDE = 512
_ROWS, _COLUMNS, _BITS = 3000, 2500, 14
WARMUP = 10
_OURS = "pipeline"


def seeds(setting: Setting) -> list[Row]:
    """The pipeline against two PyTorch networks explained by pytorch-grad-cam.

    Raises:
        MissingDependency: a package of the seeds' way, or OpenVINO, is not installed.
    """
    pixels, pipeline = sample(SIDE), open_default(setting)
    way = SeedsPipeline(setting.threads)
    others, rounds = Bystanders(), setting.fewer(4)
    calls: _Calls = {_OURS: lambda: pipeline(pixels), "seeds": lambda: way(pixels)}
    times = interleaved(calls, rounds=rounds, warmup=2)
    note = f"8-bit {SIDE}×{SIDE} in memory to decision and map; random weights in the seeds' way"
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
    others = Bystanders()
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
    others = Bystanders()
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
        others = Bystanders()
        calls: _Calls = {_OURS: lambda: pipeline(path), "read": lambda: read_dicom_bare(path)}
        times = interleaved(calls, rounds=rounds, warmup=3)
    note = (
        f"{_ROWS}×{_COLUMNS}, {_BITS} bits, uncompressed, with a window, from a file that the "
        "system holds in memory; ours goes on to preprocessing, inference, map and decision"
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
    """Write a phantom as an uncompressed 14-bit digital radiograph with a window.

    Raises:
        MissingDependency: pydicom is not installed.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian
    except ImportError as error:
        raise MissingDependency("pydicom", "dicom", "writing a DICOM file") from error
    grey = cv2.resize(sample(SIDE), (_COLUMNS, _ROWS), interpolation=cv2.INTER_LINEAR)
    step = 2 ** (_BITS - 8)
    noise = np.random.default_rng(0).integers(0, step, grey.shape, dtype=np.uint16)
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    item.SOPInstanceUID = "1.2.3"
    item.Modality, item.PhotometricInterpretation = "DX", "MONOCHROME2"
    item.Rows, item.Columns, item.SamplesPerPixel = _ROWS, _COLUMNS, 1
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, _BITS, _BITS - 1
    item.PixelRepresentation = 0
    item.WindowCenter, item.WindowWidth = 2 ** (_BITS - 1), 2**_BITS
    item.PixelData = (grey.astype(np.uint16) * step + noise).tobytes()
    item.save_as(path, enforce_file_format=True)


def open_default(setting: Setting) -> Pipeline:
    """The pipeline as an embedder gets it, but for the threads."""
    return open_pipeline(setting.bundle, "x86", threads=setting.threads)
