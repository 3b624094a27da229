"""The worker's process: answers received images and enters the objects that are to be sent.

A process of its own: a decoder that crashes, an engine that hangs, or an image that exhausts the
memory ends this process and not the receiver. The attempt is counted on the disk before it begins,
so that an image which ends the process each time is put into the dead-letter folder.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from orthoedge.clinic.destination import Destination, ResultKind
from orthoedge.clinic.header import ImageHeader, read_image_header
from orthoedge.clinic.history.node import NodeHistory
from orthoedge.clinic.log import Log, kind_and_place
from orthoedge.clinic.operations.counters import CounterFile
from orthoedge.clinic.operations.golden import GoldenCheck
from orthoedge.clinic.results import Answer, encode_result, make_result
from orthoedge.clinic.selftest.phantom import PATIENT_ID
from orthoedge.clinic.settings import EngineSettings, NodeSettings
from orthoedge.clinic.spool.records import NewObject, SpooledImage
from orthoedge.clinic.spool.spool import Spool, check_uid
from orthoedge.clinic.watch.journal import Journal, printable_name
from orthoedge.clinic.watch.picture import picture_folders, write_picture_results
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.decision import Decision
from orthoedge.runtime.errors import (
    DataError,
    EngineError,
    InputError,
    MissingDependency,
    OrthoEdgeError,
)

if TYPE_CHECKING:
    from orthoedge.runtime.pipeline import Pipeline

__all__ = ["Worker", "answer_images", "open_worker_pipeline"]

_POLL_S = 0.2
_DISK_S = 10.0  # after a full disk


def answer_images(settings: NodeSettings, log: Log, stop: threading.Event) -> None:
    """Answer images, the oldest first, until `stop` is set.

    Raises:
        BundleError, ConfigError, MissingDependency: the engine's settings cannot be used.
        EngineError: the engine fails on the bundle's own golden image too, or gives it another
            answer than it should.
        OSError: the spool cannot be used.
    """
    spool = Spool(settings.folder, settings.queue)
    settings.worker_alive.touch()
    pipeline = open_worker_pipeline(settings.engine)
    worker = Worker(settings, spool, pipeline, log)
    golden = GoldenCheck(pipeline, settings.operations.golden_s)
    log("engine opened", engine=pipeline.engine.name, precision=pipeline.engine.precision)
    while not stop.is_set():
        settings.worker_alive.touch()
        if golden.is_due():
            golden.check()
            settings.worker_sound.touch()
        image = spool.next_image()
        if image is None:
            stop.wait(_POLL_S)
            continue
        try:
            worker.answer(image)
        except MissingDependency:
            spool.give_back(image)
            raise
        except OSError as error:  # of the spool's disk; the reader's are InputErrors
            spool.give_back(image)
            log("cannot write an answer", uid=image.uid, reason=error.strerror or str(error))
            stop.wait(_DISK_S)
    log("ended")


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


class Worker:
    """Answers images of a spool with one pipeline.

    Args:
        settings: destinations, and how many attempts an image gets.
        spool: where images are, and objects go.
        pipeline: answers.
        log: takes a line for each image.
    """

    def __init__(self, settings: NodeSettings, spool: Spool, pipeline: Pipeline, log: Log) -> None:
        self._settings = settings
        self._spool = spool
        self._pipeline = pipeline
        self._log = log
        self._opened_journal: Journal | None = None
        self._counters = CounterFile(settings.worker_counters, log)
        self._history = NodeHistory(settings, log)

    def answer(self, image: SpooledImage) -> None:
        """Answer one image, or put it into the dead-letter folder with the reason.

        Raises:
            EngineError: the engine fails on the bundle's golden image too, so that the failure is
                not the image's; its attempt is taken back.
            MissingDependency: a package of the extras is missing; likewise.
            OSError: the spool's disk is full or fails.
        """
        if image.attempts > self._settings.engine.attempts:
            reason = f"the worker failed {image.attempts - 1} times while it answered this image"
            why = image.failure or "its process ended without a word"
            self._bury(image, f"{reason}, the last time: {why}")
            return
        started = time.monotonic()
        source = None
        journal = self._journal()
        picture = journal.picture(image.uid) if journal else None
        if picture is None:
            try:
                source = read_image_header(self._spool.folder / image.file, image)
            except InputError as error:
                self._bury(image, str(error))
                return
            except OSError as error:  # a sector that cannot be read must not hold up other images
                self._fail(image, str(InputError.unreadable(error)))
                return
            if not self._is_answered(image, source):
                self._spool.answer(image, "", self._originals(image, source, ""))
                self._log("filed without an answer", uid=image.uid, sop_class=image.sop_class)
                return
        try:
            radiograph, finding = self._pipeline.predict_with_image(self._spool.folder / image.file)
            received = datetime.fromtimestamp(image.received_at, timezone.utc)
            answer = Answer(finding, radiograph, received)
            objects = (
                self._write_results(picture or "", answer)
                if source is None
                else self._make_objects(image, source, answer)
            )
        except InputError as error:
            self._bury(image, str(error), self._originals(image, source, "") if source else [])
            return
        except EngineError as error:
            self._check_engine(image, error)
            return
        except (DataError, MissingDependency, OSError):
            raise
        except Exception as error:  # its text may hold a value of the image
            known = isinstance(error, OrthoEdgeError)
            self._fail(image, str(error) if known else kind_and_place(error))
            return
        alert_labels = self._pipeline.bundle.manifest.alert_labels
        self._history.answered(
            image.uid, self._file(image), self._name(image), radiograph, finding, alert_labels
        )
        self._spool.answer(image, finding.decision, objects)
        seconds = time.monotonic() - started
        if source is None or source.dataset.get("PatientID") != PATIENT_ID:
            self._counters.count_answer(
                finding.decision,
                finding.verdict.out_of_distribution,
                seconds,
                max(0.0, time.time() - image.received_at),
            )
        self._log(
            "image answered",
            uid=image.uid,
            decision=finding.decision,
            objects=len(objects),
            seconds=round(seconds, 3),
        )

    def _journal(self) -> Journal | None:
        """The journal of a watched folder; its watcher may make it after this process began."""
        if self._opened_journal is None and Journal.exists(self._settings.folder):
            self._opened_journal = Journal(self._settings.folder)
        return self._opened_journal

    def _is_answered(self, image: SpooledImage, source: ImageHeader) -> bool:
        from orthoedge.clinic.receiver.contexts import ANSWERED_CLASSES

        return str(source.dataset.get("SOPClassUID", image.sop_class)) in ANSWERED_CLASSES

    def _make_objects(
        self, image: SpooledImage, source: ImageHeader, answer: Answer
    ) -> list[NewObject]:
        """Make each kind once, for all destinations that get it."""
        decision = answer.finding.decision
        made: dict[ResultKind, NewObject | None] = {}
        objects = self._originals(image, source, decision)
        for name, destination in self._settings.destinations.items():
            if not self._goes_to(destination, image, source, decision):
                continue
            for kind in destination.results:
                if kind not in made:
                    made[kind] = self._make(kind, source, answer)
                result = made[kind]
                if result is not None:
                    objects.append(_sent_to(result, name, destination))
        return objects

    def _write_results(self, name: str, answer: Answer) -> list[NewObject]:
        """Write those of a picture without a header; there is no object to be sent."""
        finding = answer.finding
        folders = picture_folders(self._settings.destinations.values(), finding.decision)
        write_picture_results(folders, name, answer.radiograph, finding)
        return []

    def _make(self, kind: ResultKind, source: ImageHeader, answer: Answer) -> NewObject | None:
        result = make_result(kind, source.dataset, answer)
        if result is None:
            return None
        uid = check_uid(str(result.SOPInstanceUID))
        file = f"objects/{uid}.dcm"
        write_atomic(self._spool.folder / file, encode_result(result))
        return NewObject("", kind, uid, str(result.SOPClassUID), file, commitment=False)

    def _originals(
        self, image: SpooledImage, source: ImageHeader, decision: Decision | str
    ) -> list[NewObject]:
        sop_class = str(source.dataset.get("SOPClassUID", image.sop_class))
        original = partial(
            NewObject, kind="original", uid=image.uid, sop_class=sop_class, file=image.file
        )
        return [
            original(destination=name, commitment=destination.commitment)
            for name, destination in self._settings.destinations.items()
            if destination.forward_original and self._goes_to(destination, image, source, decision)
        ]

    def _goes_to(
        self, destination: Destination, image: SpooledImage, source: ImageHeader, decision: str
    ) -> bool:
        return destination.rules.match(
            modality=source.modality,
            body_part=source.body_part,
            decision=cast(Decision, decision),  # empty without a finding, which no rule names
            calling_ae=image.calling_ae,
        )

    def _bury(
        self, image: SpooledImage, reason: str, objects: list[NewObject] | None = None
    ) -> None:
        self._history.failed(image.uid, self._file(image), self._name(image), reason)
        self._spool.bury(image, reason, objects or [])
        journal = self._journal()
        name = journal.name(image.uid) if journal else None
        if name is not None:  # in the record, not in the log: names may identify patients
            record = f"{reason}\nfile: {printable_name(name)}\n".encode()
            write_atomic(self._spool.dead / f"{image.uid}.txt", record)
        self._counters.count_dead()
        self._log("no answer: put into the dead-letter folder", uid=image.uid, reason=reason)

    def _file(self, image: SpooledImage) -> Path:
        return self._spool.folder / image.file

    def _name(self, image: SpooledImage) -> str:
        journal = self._journal()
        return (journal.name(image.uid) if journal else None) or ""

    def _check_engine(self, image: SpooledImage, error: EngineError) -> None:
        """Find out whether the engine or the image is at fault, by the bundle's golden image."""
        golden = self._pipeline.bundle.golden_images()[0, 0]
        try:
            self._pipeline.predict(golden)
        except EngineError:
            self._spool.give_back(image)
            raise
        self._fail(image, str(error))

    def _fail(self, image: SpooledImage, reason: str) -> None:
        self._spool.note_failure(image, reason)
        self._counters.count_failure()
        self._log("answer failed", uid=image.uid, attempt=image.attempts, reason=reason)


def _sent_to(result: NewObject, name: str, destination: Destination) -> NewObject:
    return NewObject(
        name, result.kind, result.uid, result.sop_class, result.file, destination.commitment
    )
