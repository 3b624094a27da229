"""The engine's process: `python -m orthoedge.clinic.server.engine.process SETTINGS FOLDER`.

It decodes files from anywhere, so that it may crash, hang or run out of memory: it has limits of
its own, and the server starts it again. It writes the pixels into the history's folder itself, so
that they do not pass through the server, and compresses them while there is nothing else to do.
What needs numpy is made here too, so that the server stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import sys
from functools import cached_property, partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from orthoedge.clinic.history.header import read_facts
from orthoedge.clinic.history.node import picture_of
from orthoedge.clinic.history.pixels import PixelFiles
from orthoedge.clinic.server.engine.halving import halved
from orthoedge.clinic.server.engine.messages import (
    FRAME,
    AnswerFile,
    FileAnswer,
    HalvePixels,
    Made,
    MeasureExtents,
    OpenEngine,
    PutInWords,
    Request,
    Started,
    encode,
)
from orthoedge.clinic.settings import EngineSettings
from orthoedge.clinic.words import ImageFacts, finding_words
from orthoedge.clinic.words.extent import extent_of
from orthoedge.runtime.errors import EngineError, OrthoEdgeError

if TYPE_CHECKING:
    from orthoedge.runtime.pipeline import Pipeline

__all__ = ["EngineProcess", "main"]

_IDLE_S = 0.5
_MIB = 2**20


class EngineProcess:
    """Answers requests; opens the engine with the first file.

    Args:
        settings: of the engine.
        folder: in which the pixels are kept.
    """

    def __init__(self, settings: EngineSettings, folder: Path) -> None:
        self._settings = settings
        self.pixels = PixelFiles(folder)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline, which keeps the values of a file before they become 8 bits.

        Raises:
            BundleError, ConfigError, EngineError, MissingDependency: as `open_pipeline`.
        """
        from orthoedge.runtime import BundleTrust, CallLimits, EngineOptions, read_image, read_key
        from orthoedge.targets import open_pipeline

        engine = self._settings
        cache = Path(engine.cache) if engine.cache else None
        pipeline = open_pipeline(
            engine.bundle or None if engine.bundle in ("", "phantom") else Path(engine.bundle),
            target=engine.target,
            precision=engine.precision,
            engine=EngineOptions(engine.threads or None, cache),
            trust=BundleTrust(read_key(Path(engine.public_key)) if engine.public_key else None),
            limits=CallLimits(memory_mb=engine.decode_mb),
            reader=partial(read_image, keep_stored=True),
        )
        pipeline.bundle = pipeline.bundle.without_models()
        _limit_memory(engine.decode_mb)
        return pipeline

    def reply(self, request: Request) -> FileAnswer | Made:
        """The reply to one request; what goes wrong is part of it."""
        if isinstance(request, AnswerFile):
            return self.answer(Path(request.path))
        try:
            if isinstance(request, OpenEngine):
                self.pipeline.predict(self.pipeline.bundle.golden_images()[0, 0])
                return Made()
            if isinstance(request, HalvePixels):
                return Made(self._halved(request))
            if isinstance(request, MeasureExtents):
                return Made(msgspec.json.encode([*map(extent_of, request.findings)]))
            return Made(_words(request))
        except (OrthoEdgeError, OSError, MemoryError) as error:
            return Made(error=str(error) or "there is not enough memory")

    def answer(self, file: Path) -> FileAnswer:
        """Answer one file and keep its pixels."""
        try:
            pipeline = self.pipeline
            patient, study = read_facts(file)
        except OrthoEdgeError as error:
            return FileAnswer(engine_error=str(error))
        facts = partial(FileAnswer, patient=patient, study=study)
        try:
            radiograph, finding = pipeline.predict_with_image(file)
            picture, content = picture_of(radiograph)
            digest = self.pixels.write(content)
        except EngineError as error:
            return facts(engine_error=str(error))
        except (OrthoEdgeError, MemoryError) as error:
            return facts(failure=str(error) or "there is not enough memory to read it")
        except OSError as error:  # of the history's disk; the reader's are InputErrors
            return facts(disk_error=error.errno or errno.EIO)
        return facts(
            finding=finding.to_json(),
            alert_labels=pipeline.bundle.manifest.alert_labels,
            spacing_mm=radiograph.spacing_mm,
            spacing_plane=radiograph.spacing_plane or "",
            picture=msgspec.structs.replace(picture, sha256=digest),
        )

    def _halved(self, request: HalvePixels) -> bytes:
        samples = np.frombuffer(self.pixels.read(request.sha256), "<u2")
        samples = samples.reshape(request.height, request.width)
        for _ in range(request.times):
            samples = halved(samples)
        return samples.tobytes()


def main(settings: str, folder: str) -> int:
    """Answer requests on standard input until it is closed; return the exit status."""
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the responses
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would contain the picture
    process = EngineProcess(msgspec.json.decode(settings, type=EngineSettings), Path(folder))
    responses.write(encode(Started()))
    responses.flush()
    requests = FileIO(os.dup(0), "rb")  # a buffer would hide what `select` sees
    while True:
        while not select.select([requests], [], [], _IDLE_S)[0]:
            if not _compress(process.pixels):
                _give_back_memory()
                select.select([requests], [], [])
        header = _read(requests, FRAME.size)
        if header is None or (content := _read(requests, *FRAME.unpack(header))) is None:
            return 0
        responses.write(encode(process.reply(msgspec.msgpack.decode(content, type=Request))))
        responses.flush()


def _words(request: PutInWords) -> bytes:
    study = request.study
    facts = ImageFacts(study.body_part, study.laterality, study.view, request.width, request.height)
    return msgspec.json.encode(
        {
            reader: finding_words(
                request.finding,
                facts,
                request.language,
                reader,
                alert_labels=request.alert_labels,
            )
            for reader in ("operator", "patient")
        }
    )


def _read(requests: FileIO, size: int) -> bytes | None:
    """So many bytes, or None at the end."""
    content = b""
    while len(content) < size:
        block = requests.read(size - len(content))
        if not block:
            return None
        content += block
    return content


def _compress(pixels: PixelFiles) -> bool:
    try:
        return pixels.compress_next()
    except OSError:  # they stay as they are
        return False


def _give_back_memory() -> None:
    """Return what decoding has freed to the system; the C library would keep it."""
    with contextlib.suppress(AttributeError, OSError):  # not every C library can
        ctypes.CDLL(None).malloc_trim(0)


def _limit_memory(decode_mb: float) -> None:
    """Limit what decoding may take on top of the engine."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    # Twice: next to the decoded picture there are its 8-bit form and what the network makes of it.
    limit = now + int(2 * decode_mb * _MIB)
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most)
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
