"""What Python, the module and the program of orthoedge-native make of a case, byte by byte."""

import struct
import subprocess

import numpy as np

from orthoedge.runtime.image_quality import measure_image_quality
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, image_statistics

_STAGES = ("after", "before", "none")
_RESULT = struct.Struct(f"<8i5d{STATISTICS_SIZE}f")


def from_python(case):
    """Return the positions, the measures of the quality, the statistics and the model input."""
    pixels = case.pixels
    model_input, placement = case.preprocess.prepare(pixels)
    x0, y0, x1, y1 = placement.field
    measures = measure_image_quality(pixels[y0:y1, x0:x1])
    statistics = image_statistics(model_input)
    return _bytes(placement.field, placement.content, measures, statistics, model_input)


def from_module(library, case):
    """Return the same of the module, as the runtime calls it."""
    size, pixels = case.preprocess.size, case.pixels
    if pixels.strides[1] != 1:
        pixels = np.ascontiguousarray(pixels)
    model_input = np.full((size, size), 77, np.uint8)
    statistics = np.full(STATISTICS_SIZE, np.nan, np.float32)
    settings = case.preprocess
    field, content, measures = library.prepare(
        pixels,
        settings.collimated_field == "crop",
        settings.clahe_stage,
        settings.clahe_clip,
        settings.clahe_tiles,
        model_input,
        statistics,
    )
    return _bytes(field, content, measures, statistics, model_input)


def from_program(command, cases):
    """Return the same of the program for each case, and the name of its instruction set."""
    done = subprocess.run(
        command, input=b"".join(map(_record, cases)), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    results, at = [], 0
    for case in cases:
        size = _RESULT.size + case.preprocess.size**2
        results.append(done.stdout[at : at + size])
        at += size
    assert at == len(done.stdout)
    return results, done.stderr.decode().strip()


def _bytes(field, content, measures, statistics, model_input):
    return _RESULT.pack(*field, *content, *measures, *statistics) + model_input.tobytes()


def _record(case):
    """Write a case for the program, with its rows as far apart and in the order they have."""
    settings, pixels = case.preprocess, case.pixels
    if pixels.strides[1] != 1:
        pixels = np.ascontiguousarray(pixels)
    (height, width), stride = pixels.shape, pixels.strides[0]
    if height == 1 or abs(stride) < width:
        stride = width
    memory = np.full(abs(stride) * (height - 1) + width, 99, np.uint8)
    rows = pixels[::-1] if stride < 0 else pixels
    view = np.lib.stride_tricks.as_strided(memory, pixels.shape, (abs(stride), 1))
    view[:] = rows
    header = struct.pack(
        "<8id",
        height,
        width,
        stride,
        settings.size,
        settings.collimated_field == "crop",
        _STAGES.index(settings.clahe_stage),
        settings.clahe_tiles,
        0,
        settings.clahe_clip,
    )
    return header + memory.tobytes()
