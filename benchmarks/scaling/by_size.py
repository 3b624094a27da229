"""Time by the size of the image: reading, preprocessing, the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np

from orthoedge.benchmarks.scaling.power_law import curve
from orthoedge.benchmarks.scaling.settings import Curves, ScalingSetup
from orthoedge.benchmarks.scaling.wording import parts_sentence
from orthoedge.benchmarks.timing.latency import Samples, unnumbered
from orthoedge.benchmarks.timing.worker import interleave
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.windowing import apply_table
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import find_collimated_field, halve
from orthoedge.targets import EngineOptions, open_engine

_Calls = dict[str, Callable[[], object]]

_WARMUP, _FINDINGS = 1, 5
_GIVEN = "given its bytes"


def time_by_pixels(setup: ScalingSetup) -> Curves:
    """Curves of milliseconds; all of them and all sizes are interleaved."""
    shapes, options = setup.scope.shapes, EngineOptions(threads=setup.threads)
    engine = open_engine(setup.bundle, setup.target, setup.precision, options=options)
    pipeline = Pipeline(setup.bundle, engine)
    sizes = dict(enumerate(shapes, 1))  # by number of the source; the first of them is tiny
    wholes = {number: _curve_calls(pipeline, setup, number) for number in sizes}
    calls = {f"{number} {name}": call for number, of in wholes.items() for name, call in of.items()}
    for number in (1, len(shapes)):
        for name, parts in _parts(setup, number).items():
            calls |= {f"{number} {name}: {part}": call for part, call in parts.items()}
    timed = {name: unnumbered(call) for name, call in calls.items()}
    *_, samples = interleave(timed, _WARMUP, setup.scope.rounds, setup.scope.seconds)
    rounds = {name: np.median(times, axis=1) for name, times in samples.items()}
    curves = []
    for name in wholes[1]:
        times = {
            float(rows * columns): rounds[f"{number} {name}"]
            for number, (rows, columns) in sizes.items()
        }
        ends = {
            sizes[number]: _spent(f"{number} {name}", rounds)
            or _stages(pipeline, setup, name, number)
            for number in (1, len(shapes))
        }
        of = f"{setup.name}, {name}" if name.startswith("from ") else name
        curves.append(curve(of, "pixels", "ms", times, parts_sentence(ends)))
    return curves, list(setup.sources.skipped)


def _curve_calls(pipeline: Pipeline, setup: ScalingSetup, number: int) -> _Calls:
    """The calls that become curves, on one of the sources."""
    pixels, files = setup.sources.images[number], setup.sources.files
    return {f"read {kind}": partial(read_image, paths[number]) for kind, paths in files.items()} | {
        "preprocess": partial(setup.bundle.manifest.preprocess.prepare, pixels),
        "from memory": partial(pipeline, pixels),
        "from png": partial(pipeline, files["png"][number]),
    }


def _parts(setup: ScalingSetup, number: int) -> dict[str, _Calls]:
    """The parts of each curve's call that can be called separately."""
    pixels, settings = setup.sources.images[number], setup.bundle.manifest.preprocess
    halved = halve if settings.collimated_field == "keep" else find_collimated_field
    parts: dict[str, _Calls] = {"preprocess": {"halving it": partial(halved, pixels)}}
    if settings.clahe_stage == "after":
        clahe = cv2.createCLAHE(settings.clahe_clip, (settings.clahe_tiles, settings.clahe_tiles))
        parts["preprocess"]["CLAHE"] = partial(clahe.apply, setup.model_input[0, 0])
    for kind, paths in setup.sources.files.items():
        data = paths[number].read_bytes()
        if kind == "dicom":
            stored, table = pixels.astype(np.uint16), np.zeros(2**16, np.uint8)
            decode: _Calls = {"header and tables": partial(read_image, paths[0])}  # it has no more
            decode["looking each pixel up"] = partial(apply_table, stored, table)
        else:
            encoded = np.frombuffer(data, np.uint8)
            decode = {"OpenCV's decoder": partial(cv2.imdecode, encoded, cv2.IMREAD_UNCHANGED)}
        parts[f"read {kind}"] = decode | {_GIVEN: partial(read_image, data)}
    return parts


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
