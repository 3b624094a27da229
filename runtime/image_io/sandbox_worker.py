"""The sandbox process: reads one file after another until its parent is gone."""

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
from orthoedge.runtime.image_io.decoder_messages import decode_quietly
from orthoedge.runtime.image_io.memory import MIB
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox_client import FRAME, Request, Response
from orthoedge.runtime.preparation.native import find_native_library

_DICOM_MODULES = (
    *("pydicom.pixels.decoders", "pydicom.pixels.utils", "pylibjpeg", "openjpeg", "rle"),
    *("jpeg_ls", "gdcm"),
)


def serve() -> None:
    """Serve requests on standard input until it is closed."""
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the responses
    cv2.setNumThreads(1)  # so that processor time never exceeds wall-clock time
    for name in _DICOM_MODULES:  # before the limits apply; the reader reports missing ones
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    find_native_library()
    decode_quietly(lambda: bytes(2**16))  # starts the decoders' thread, with its own heap
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would contain the picture
    idle = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    responses.write(b"r")
    responses.flush()
    while header := sys.stdin.buffer.read(FRAME.size):
        (size,) = FRAME.unpack(header)
        request = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Request)
        _limit(request, idle)
        _respond(request, responses)
        responses.flush()


def _limit(request: Request, idle: int) -> None:
    """Set the limits of memory, and of processor time in case the parent is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + request.time_s) + 1
    size = idle + int(request.memory_mb * MIB)
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, size)):
        _, most = resource.getrlimit(kind)  # of the user, which may be lower
        least = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (least, most))


def _respond(request: Request, responses: BinaryIO) -> None:
    pixels = None
    try:
        content = sys.stdin.buffer.read(request.size)
        source = Path(os.fsdecode(request.path)) if request.path else content
        radiograph = read_image(source, memory_mb=request.memory_mb)
        pixels = radiograph.pixels
        height, width = pixels.shape
        response = Response(
            height=height,
            width=width,
            source_bits=radiograph.source_bits,
            spacing_mm=radiograph.spacing_mm,
            notes=radiograph.notes,
            spacing_plane=radiograph.spacing_plane,
            refer_reasons=radiograph.refer_reasons,
            refer_reason_ids=radiograph.refer_reason_ids,
        )
    except MissingDependency as error:
        response = Response(missing=error.args)
    except InputError as error:
        response = Response(error=str(error))
    encoded = msgspec.msgpack.encode(response)
    responses.write(FRAME.pack(len(encoded)) + encoded)
    if pixels is not None:
        responses.write(pixels.reshape(-1).data)
