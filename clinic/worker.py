"""The worker's process: answers received images and enters the objects that are to be sent.

A process of its own: an engine that hangs, or an image that exhausts the memory ends this process
and not the receiver. It has two more processes for what may be hostile: one decodes images, the
other reads headers and makes results. The attempt is counted on the disk before it
begins, so that an image which ends a process each time is put into the dead-letter folder.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.answering import Worker
from orthoedge.clinic.log import Log
from orthoedge.clinic.making.client import ResultMaker
from orthoedge.clinic.operations.golden import GoldenCheck
from orthoedge.clinic.operations.start import START_ERRORS, started
from orthoedge.clinic.settings import EngineSettings, NodeSettings
from orthoedge.clinic.spool.records import SpooledImage
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.errors import OrthoEdgeError

if TYPE_CHECKING:
    from orthoedge.runtime.pipeline import Pipeline

__all__ = ["answer_images", "open_worker_pipeline"]

_POLL_S = 0.2
_DISK_S = 10.0  # after a full disk
_TIDY_S = 600.0


def answer_images(settings: NodeSettings, log: Log, stop: threading.Event) -> None:
    """Answer images, the oldest first, until `stop` is set.

    Raises:
        BundleError, ConfigError, MissingDependency: at the start: the settings of engine or results
            cannot be used, or something that they need is not installed.
        DataError: at the start: the index is damaged, or of another version.
        EngineError: the engine fails on the bundle's own golden image too, or gives it another
            answer than it should.
        OSError: the spool cannot be used.
    """
    spool = Spool(settings.folder, settings.queue)
    settings.worker_alive.touch()
    maker = ResultMaker(settings.engine.decode_mb)
    maker.start()
    try:
        pipeline = open_worker_pipeline(settings.engine)
        _check_results(maker, settings, log)
        worker = Worker(settings, spool, pipeline, maker, log)
        golden = GoldenCheck(pipeline, settings.operations.golden_s)
        log("engine opened", engine=pipeline.engine.name, precision=pipeline.engine.precision)
        spool.remove_unnamed_results()
        with started():
            _answer_until(settings, spool, worker, golden, log, stop)
    finally:
        maker.close()
    log("ended")


def _check_results(maker: ResultMaker, settings: NodeSettings, log: Log) -> None:
    """Check what results need; a process that ended over it has said nothing against them."""
    try:
        maker.check(settings.kinds, settings.report.language)
    except START_ERRORS:
        raise
    except OrthoEdgeError as error:
        log("results not checked", reason=str(error))


def _answer_until(
    settings: NodeSettings,
    spool: Spool,
    worker: Worker,
    golden: GoldenCheck,
    log: Log,
    stop: threading.Event,
) -> None:
    tidied_at = time.monotonic()
    while not stop.is_set():
        settings.worker_alive.touch()
        if golden.is_due():
            golden.check()
            settings.worker_sound.touch()
        try:
            image = spool.next_image()
        except OSError as error:
            log("cannot begin an answer", reason=_reason(error, settings))
            stop.wait(_DISK_S)
            continue
        if image is None:
            if time.monotonic() - tidied_at > _TIDY_S:  # of failures, and of a maker that was late
                spool.remove_unnamed_results()
                tidied_at = time.monotonic()
            stop.wait(_POLL_S)
            continue
        try:
            worker.answer(image)
        except OSError as error:  # of the spool's disk; the reader's are InputErrors
            log("cannot write an answer", uid=image.uid, reason=_reason(error, settings))
            _give_back_once_possible(spool, image, stop)


def _reason(error: OSError, settings: NodeSettings) -> str:
    """Why the disk failed, with the folder of the settings: a file's name may name a patient."""
    reason = error.strerror or str(error)
    if not isinstance(error.filename, str):
        return reason
    file = Path(error.filename)
    paths = [each.path for each in settings.destinations.values()]
    for name in filter(None, (settings.spool, settings.history.folder, *paths)):
        folder = Path(name)
        if file.is_relative_to(folder) or folder.is_relative_to(file):
            return f"{folder}: {reason}"
    return reason


def _give_back_once_possible(spool: Spool, image: SpooledImage, stop: threading.Event) -> None:
    """Wait for the disk: an attempt that stays counted would be held against the image."""
    while True:
        stop.wait(_DISK_S)
        try:
            spool.give_back(image)
        except OSError:
            if not stop.is_set():
                continue
        return


def open_worker_pipeline(engine: EngineSettings) -> Pipeline:
    """Open the pipeline that answers, with a sandboxed process that decodes.

    Raises:
        BundleError, ConfigError, EngineError, MissingDependency: as `open_pipeline`.
    """
    from orthoedge.runtime import BundleTrust, SandboxedReader, SandboxLimits, read_key
    from orthoedge.targets import EngineOptions, open_pipeline

    return open_pipeline(
        engine.bundle or None if engine.bundle in ("", "phantom") else Path(engine.bundle),
        target=engine.target,
        precision=engine.precision,
        engine=EngineOptions(engine.threads or None, Path(engine.cache) if engine.cache else None),
        trust=BundleTrust(read_key(Path(engine.public_key)) if engine.public_key else None),
        reader=SandboxedReader(SandboxLimits(engine.decode_s, engine.decode_mb)),
    )
