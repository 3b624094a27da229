"""Time by the size of the image: reading, preprocessing, the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.scaling.wording import parts_sentence
from orthoedge.benchmarks.timing.latency import Samples
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.windowing import apply_table
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels, find_collimated_field, halve
from orthoedge.targets import EngineOptions, open_engine

_Calls = dict[str, Callable[[int], object]]
"""Each takes a number, which is ignored."""

_WARMUP, _FINDINGS = 1, 5
_GIVEN = "given its bytes"


def time_by_pixels(setup: ScalingSetup) -> Curves:
    """Curves of milliseconds; all of them and all sizes are interleaved."""
    shapes = setup.scope.shapes
    engine = open_engine(
        setup.bundle, setup.target, setup.precision, options=EngineOptions(threads=setup.threads)
    )
    pipeline = Pipeline(setup.bundle, engine)
    numbers = range(1, len(shapes) + 1)  # of the sources; the first of them is tiny
    calls: _Calls = {}
    for number in numbers:
        calls |= _prefixed(f"{number} ", _curve_calls(pipeline, setup, number))
    for number in (1, len(shapes)):
        for name, parts in _parts(setup, number).items():
            calls |= _prefixed(f"{number} {name}: ", parts)
    *_, samples = interleave(calls, _WARMUP, setup.scope.rounds, setup.scope.seconds)
    rounds = {name: np.median(times, axis=1) for name, times in samples.items()}
    curves = []
    for name in _curve_calls(pipeline, setup, 1):
        times = {
            float(rows * columns): rounds[f"{number} {name}"]
            for number, (rows, columns) in zip(numbers, shapes, strict=True)
        }
        ends = {
            shapes[number - 1]: _spent(f"{number} {name}", rounds)
            or _stages(pipeline, setup, name, number)
            for number in (1, len(shapes))
        }
        of = f"{setup.name}, {name}" if name.startswith("from ") else name
        curves.append(curve(of, "pixels", "ms", times, parts_sentence(ends)))
    return curves, list(setup.sources.skipped)


def _curve_calls(pipeline: Pipeline, setup: ScalingSetup, number: int) -> _Calls:
    """The calls that become curves, on one of the sources."""
    pixels, files = setup.sources.images[number], setup.sources.files
    prepare = setup.bundle.manifest.preprocess.prepare
    calls: _Calls = {f"read {kind}": _reader(paths[number]) for kind, paths in files.items()}
    return calls | {
        "preprocess": lambda _: prepare(pixels),
        "from memory": lambda _: pipeline(pixels),
        "from png": lambda _: pipeline(files["png"][number]),
    }


def _parts(setup: ScalingSetup, number: int) -> dict[str, _Calls]:
    """The parts of each curve's call that can be called separately."""
    pixels = setup.sources.images[number]
    parts = {"preprocess": _of_preprocess(setup, pixels)}
    for kind, paths in setup.sources.files.items():
        decode = _of_dicom(paths[0], pixels) if kind == "dicom" else _of_picture(paths[number])
        parts[f"read {kind}"] = decode | {_GIVEN: _reader(paths[number].read_bytes())}
    return parts


def _of_preprocess(setup: ScalingSetup, pixels: Pixels) -> _Calls:
    settings = setup.bundle.manifest.preprocess
    halved = halve if settings.collimated_field == "keep" else find_collimated_field
    parts: _Calls = {"halving it": lambda _: halved(pixels)}
    if settings.clahe_stage == "after":
        clahe = cv2.createCLAHE(settings.clahe_clip, (settings.clahe_tiles, settings.clahe_tiles))
        parts["CLAHE"] = lambda _: clahe.apply(setup.model_input[0, 0])
    return parts


def _of_dicom(tiny: Path, pixels: Pixels) -> _Calls:
    stored, table = pixels.astype(np.uint16), np.zeros(2**16, np.uint8)
    return {
        "header and tables": _reader(tiny),  # a file this small has nothing else
        "looking each pixel up": lambda _: apply_table(stored, table),
    }


def _of_picture(path: Path) -> _Calls:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return {"OpenCV's decoder": lambda _: cv2.imdecode(data, cv2.IMREAD_UNCHANGED)}


def _spent(name: str, rounds: Mapping[str, Samples]) -> dict[str, float]:
    """Median ms of each part of a call, the remainder included; empty: no part is known."""
    begins = f"{name}: "
    parts = {
        part.removeprefix(begins): float(np.median(times))
        for part, times in rounds.items()
        if part.startswith(begins)
    }
    if parts:
        whole = float(np.median(rounds[name]))
        if _GIVEN in parts:
            parts["fetching the file"] = max(0.0, whole - parts.pop(_GIVEN))
        parts["all else"] = max(0.0, whole - sum(parts.values()))
    return parts


def _stages(pipeline: Pipeline, setup: ScalingSetup, name: str, number: int) -> dict[str, float]:
    """Stages of the whole pipeline, ms, from the timing of its findings."""
    sources = setup.sources
    source = sources.images[number] if name == "from memory" else sources.files["png"][number]
    timings = [pipeline(source).timing_ms for _ in range(_FINDINGS)]
    return {
        "reading": float(np.median([timing.read for timing in timings])),
        "preprocessing": float(np.median([timing.preprocess for timing in timings])),
        "inference": float(np.median([timing.inference for timing in timings])),
        "the decision": float(np.median([timing.decide for timing in timings])),
    }


def _prefixed(prefix: str, calls: _Calls) -> _Calls:
    return {prefix + name: call for name, call in calls.items()}


def _reader(source: Path | bytes) -> Callable[[int], object]:
    return lambda _: read_image(source)
