"""What runs in that process: reads one file after another until its parent is gone."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import resource
import sys
from pathlib import Path
from typing import BinaryIO

import cv2
import msgspec

from orthoedge.runtime.errors import InputError, MissingDependency
from orthoedge.runtime.image_io.memory import MIB
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox_client import FRAME, Answer, Request

_DICOM_MODULES = (
    *("pydicom.pixels.decoders", "pydicom.pixels.utils", "pylibjpeg", "openjpeg", "rle"),
    *("jpeg_ls", "gdcm"),
)


def serve() -> None:
    """Answer requests on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    cv2.setNumThreads(1)  # so that processor time is wall-clock time at most
    _load_dicom()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would keep the picture
    idle = _address_space()
    answers.write(b"r")
    answers.flush()
    while header := sys.stdin.buffer.read(FRAME.size):
        (size,) = FRAME.unpack(header)
        request = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Request)
        _limit(request, idle)
        _answer(request, answers)
        answers.flush()


def _load_dicom() -> None:
    """Bring in what DICOM needs, before time and memory count; what is missing a file will tell."""
    for name in _DICOM_MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _address_space() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _limit(request: Request, idle: int) -> None:
    """The parent watches the clock; this holds where the parent is gone, or memory runs out."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + request.time_s) + 1
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (idle + int(request.memory_mb * MIB), most))


def _answer(request: Request, answers: BinaryIO) -> None:
    pixels = None
    try:
        source = sys.stdin.buffer.read(request.size)
        read = read_image(
            Path(os.fsdecode(request.path)) if request.path else source,
            memory_mb=request.memory_mb,
        )
        pixels = read.pixels
        height, width = pixels.shape
        answer = Answer("", (), height, width, read.source_bits, read.spacing_mm, read.notes)
    except MissingDependency as error:
        answer = Answer(missing=error.args)
    except InputError as error:
        answer = Answer(error=str(error))
    encoded = msgspec.msgpack.encode(answer)
    answers.write(FRAME.pack(len(encoded)) + encoded)
    if pixels is not None:
        answers.write(pixels.reshape(-1).data)
