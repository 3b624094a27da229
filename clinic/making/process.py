"""The process: serves one request after another until its standard input is closed."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import os
import resource
import sys
from pathlib import Path

import cv2
import numpy as np

from orthoedge.clinic.history.header import facts_of
from orthoedge.clinic.log import kind_and_place
from orthoedge.clinic.making.check import check_installation
from orthoedge.clinic.making.header import read_image_header
from orthoedge.clinic.making.messages import (
    LENGTH,
    Failure,
    HeaderFacts,
    MadeObject,
    Request,
    Response,
    decode_request,
    encode,
)
from orthoedge.clinic.results import Answer, encode_result, make_result, prepare_results
from orthoedge.clinic.spool.spool import check_uid
from orthoedge.runtime.atomic_files import file_sha256, write_atomic
from orthoedge.runtime.errors import ConfigError, InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.preprocess import Pixels

__all__ = ["serve"]

_MIB = 2**20


def serve(memory_mb: str) -> None:
    """Serve requests.

    Args:
        memory_mb: MiB of address space beyond that of the idle process.
    """
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the responses
    cv2.setNumThreads(1)  # each thread would reserve address space
    with contextlib.suppress(MissingDependency):  # reported by the check
        prepare_results()
    _give_memory_back()
    gc.freeze()  # the tables of highdicom stay, and would be looked through at each collection
    _limit(float(memory_mb))
    while length := sys.stdin.buffer.read(LENGTH.size):
        request = decode_request(sys.stdin.buffer.read(*LENGTH.unpack(length)))
        rows, columns = request.shape
        picture = sys.stdin.buffer.read(rows * columns)
        pixels = np.frombuffer(picture, np.uint8).reshape(rows, columns)
        responses.write(encode(_respond(request, pixels)))
        responses.flush()
        del request, pixels, picture
        _give_memory_back()  # that of the picture, while nothing is asked for


def _give_memory_back() -> None:
    gc.collect()  # data sets of highdicom refer to themselves, and hold pixels
    with contextlib.suppress(AttributeError):  # glibc alone has it, and alone needs it
        ctypes.CDLL(None).malloc_trim(0)


def _limit(memory_mb: float) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would contain the picture
    idle = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = idle + int(memory_mb * _MIB)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def _respond(request: Request, pixels: Pixels) -> Response:
    try:
        return _serve_one(request, pixels)
    except InputError as error:
        failure = Failure("input", (str(error),))
    except ConfigError as error:
        failure = Failure("config", (str(error),))
    except MissingDependency as error:
        failure = Failure("missing", tuple(map(str, error.args)))
    except OSError as error:
        failure = Failure("disk", (error.strerror or type(error).__name__,), error.errno or 0)
    except OrthoEdgeError as error:
        failure = Failure("defect", (str(error),))
    except MemoryError:
        failure = Failure("defect", ("its header or results take more memory than decode_mb",))
    except Exception as error:  # its text may hold a value of the image
        failure = Failure("defect", (kind_and_place(error),))
    return Response(failure=failure)


def _serve_one(request: Request, pixels: Pixels) -> Response:
    folder, image = Path(request.folder), request.image
    if image is None:
        check_installation(request.kinds, request.language)
        return Response()
    source = read_image_header(folder / image.file, image)
    facts = HeaderFacts(
        str(source.dataset.get("SOPClassUID", image.sop_class)),
        source.modality,
        source.body_part,
        *facts_of(source.dataset),
    )
    if request.finding is None or request.radiograph is None:
        return Response(facts)
    radiograph = dataclasses.replace(request.radiograph, pixels=pixels)
    answer = Answer(
        request.finding,
        radiograph,
        request.received,
        request.language,
        request.paper,
        request.alert_labels,
        file_sha256(folder / image.file) if "pdf" in request.kinds else "",
        request.history,
    )
    objects = []
    for kind in request.kinds:
        result = make_result(kind, source.dataset, answer)
        if result is not None:
            uid = check_uid(str(result.SOPInstanceUID))
            file = f"objects/{uid}.dcm"
            write_atomic(folder / file, encode_result(result))
            objects.append(MadeObject(kind, uid, str(result.SOPClassUID), file))
        del result
        _give_memory_back()
    return Response(facts, tuple(objects))


if __name__ == "__main__":
    serve(*sys.argv[1:])
