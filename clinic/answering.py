"""The answer to one image: its finding, its results, or a dead letter with the reason."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from orthoedge.clinic.destination import RESULT_KINDS, Destination, ResultKind
from orthoedge.clinic.history.node import NodeHistory
from orthoedge.clinic.log import Log, kind_and_place
from orthoedge.clinic.making.client import ResultMaker
from orthoedge.clinic.making.messages import HeaderFacts, MadeObject
from orthoedge.clinic.operations.counters import CounterFile
from orthoedge.clinic.results import Answer
from orthoedge.clinic.results.source import derived_uid
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.records import NewObject, SpooledImage
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.watch.journal import Journal, printable_name
from orthoedge.clinic.watch.picture import picture_folders, write_picture_results
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.decision import Decision
from orthoedge.runtime.errors import EngineError, InputError, OrthoEdgeError

if TYPE_CHECKING:
    from orthoedge.runtime.pipeline import Pipeline

__all__ = ["Worker"]


class Worker:
    """Answers images of a spool with one pipeline.

    Args:
        settings: destinations, and how many attempts an image gets.
        spool: where images are, and objects go.
        pipeline: answers.
        maker: reads headers, and makes the results.
        log: takes a line for each image.
    """

    def __init__(
        self,
        settings: NodeSettings,
        spool: Spool,
        pipeline: Pipeline,
        maker: ResultMaker,
        log: Log,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._pipeline = pipeline
        self._maker = maker
        self._log = log
        self._opened_journal: Journal | None = None
        self._counters = CounterFile(settings.worker_counters, log)
        self._history = NodeHistory(settings, log)

    def answer(self, image: SpooledImage) -> None:
        """Answer one image, or put it into the dead-letter folder with the reason.

        Raises:
            EngineError: the engine fails on the bundle's golden image too, so that the failure is
                not the image's; its attempt is taken back.
            DataError: the index of the spool is damaged.
            OSError: the spool's disk is full or fails.
        """
        if image.attempts > self._settings.engine.attempts:
            reason = f"the worker failed {image.attempts - 1} times while it answered this image"
            why = image.failure or "its process ended without a word"
            self._bury(image, f"{reason}, the last time: {why}", self._facts(image), forward=False)
            return
        started = time.monotonic()
        source = None
        journal = self._journal()
        picture = journal.picture(image.uid) if journal else None
        if picture is None:
            try:
                source = self._maker.read_header(self._spool.folder, image)
            except InputError as error:
                self._bury(image, str(error))
                return
            except OrthoEdgeError as error:
                self._fail(image, str(error))
                return
            except OSError as error:  # a sector that cannot be read must not hold up other images
                self._fail(image, str(InputError.unreadable(error)))
                return
            if not _is_answered(source):
                self._spool.answer(image, "", self._originals(image, source, ""))
                self._log("filed without an answer", uid=image.uid, sop_class=image.sop_class)
                return
        try:
            radiograph, finding = self._pipeline.predict_with_image(self._spool.folder / image.file)
            received = datetime.fromtimestamp(image.received_at, timezone.utc)
            page = self._settings.report
            answer = Answer(
                finding,
                radiograph,
                received,
                page.language,
                page.paper,
                self._pipeline.bundle.manifest.alert_labels,
                history=self._settings.history.folder,
            )
            objects = (
                self._write_results(picture or "", answer)
                if source is None
                else self._make_objects(image, source, answer)
            )
        except InputError as error:
            self._bury(image, str(error), source)
            return
        except EngineError as error:
            self._check_engine(image, error)
            return
        except OSError:
            raise
        except Exception as error:  # its text may hold a value of the image
            known = isinstance(error, OrthoEdgeError)
            self._fail(image, str(error) if known else kind_and_place(error))
            return
        alert_labels = self._pipeline.bundle.manifest.alert_labels
        self._history.answered(
            image.uid,
            self._file(image),
            self._name(image),
            source,
            radiograph,
            finding,
            alert_labels,
        )
        self._spool.answer(image, finding.decision, objects)
        seconds = time.monotonic() - started
        if source is None or not source.is_selftest:
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
            objects=sum(not each.failure for each in objects),
            seconds=round(seconds, 3),
        )

    def _journal(self) -> Journal | None:
        """The journal of a watched folder; its watcher may make it after this process began."""
        if self._opened_journal is None and Journal.exists(self._settings.folder):
            self._opened_journal = Journal(self._settings.folder)
        return self._opened_journal

    def _make_objects(
        self, image: SpooledImage, source: HeaderFacts, answer: Answer
    ) -> list[NewObject]:
        """Make each kind once, for all destinations that get it.

        With the last attempt each is made on its own, so that one which fails costs no other.
        """
        decision = answer.finding.decision
        objects = self._originals(image, source, decision)
        receiving = {
            name: destination
            for name, destination in self._settings.destinations.items()
            if self._goes_to(destination, image, source, decision)
        }
        wanted = {kind for each in receiving.values() for kind in each.results}
        kinds = [kind for kind in RESULT_KINDS if kind in wanted]
        is_last = image.attempts >= self._settings.engine.attempts
        batches = [[kind] for kind in kinds] if is_last else [kinds] if kinds else []
        made: dict[ResultKind, MadeObject] = {}
        failed: dict[ResultKind, NewObject] = {}
        for batch in batches:
            try:
                results = self._maker.make(self._spool.folder, image, batch, answer)
            except InputError:
                raise
            except OrthoEdgeError as error:
                if not is_last:
                    raise
                (kind,) = batch
                failed[kind] = self._not_made(image, kind, str(error))
            else:
                made |= {each.kind: each for each in results}
        for name, destination in receiving.items():
            for kind in destination.results:
                if kind in made:
                    objects.append(_sent_to(made[kind], name, destination))
                elif kind in failed:
                    objects.append(dataclasses.replace(failed[kind], destination=name))
        return objects

    def _not_made(self, image: SpooledImage, kind: ResultKind, reason: str) -> NewObject:
        self._log("result not made", uid=image.uid, kind=kind, reason=reason)
        uid = derived_uid(image.uid, kind, "not made")
        reason = f"the {kind} cannot be made: {reason}"
        return NewObject("", kind, uid, "", f"objects/{uid}.dcm", False, failure=reason)

    def _write_results(self, name: str, answer: Answer) -> list[NewObject]:
        """Write those of a picture without a header; there is no object to be sent."""
        finding = answer.finding
        folders = picture_folders(self._settings.destinations.values(), finding.decision)
        write_picture_results(folders, name, answer.radiograph, finding)
        return []

    def _originals(
        self, image: SpooledImage, source: HeaderFacts, decision: Decision | str
    ) -> list[NewObject]:
        original = partial(
            NewObject, kind="original", uid=image.uid, sop_class=source.sop_class, file=image.file
        )
        return [
            original(destination=name, commitment=destination.commitment)
            for name, destination in self._settings.destinations.items()
            if destination.forward_original and self._goes_to(destination, image, source, decision)
        ]

    def _goes_to(
        self, destination: Destination, image: SpooledImage, source: HeaderFacts, decision: str
    ) -> bool:
        return destination.rules.match(
            modality=source.modality,
            body_part=source.body_part,
            decision=cast(Decision, decision),  # empty without a finding, which no rule names
            calling_ae=image.calling_ae,
        )

    def _facts(self, image: SpooledImage) -> HeaderFacts | None:
        """What the history keeps of a header; None without a history or a header to be read."""
        if self._settings.history.folder:
            with contextlib.suppress(OrthoEdgeError, OSError):
                return self._maker.read_header(self._spool.folder, image)
        return None

    def _bury(
        self,
        image: SpooledImage,
        reason: str,
        source: HeaderFacts | None = None,
        forward: bool = True,
    ) -> None:
        self._history.failed(image.uid, self._file(image), self._name(image), source, reason)
        forwarded = self._originals(image, source, "") if source and forward else []
        self._spool.bury(image, reason, forwarded)
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


def _is_answered(source: HeaderFacts) -> bool:
    from orthoedge.clinic.receiver.contexts import ANSWERED_CLASSES

    return source.sop_class in ANSWERED_CLASSES


def _sent_to(result: MadeObject, name: str, destination: Destination) -> NewObject:
    return NewObject(
        name, result.kind, result.uid, result.sop_class, result.file, destination.commitment
    )
