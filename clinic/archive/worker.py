"""A worker: one engine, checked before its first answer; a share of inputs becomes a part."""

from __future__ import annotations

import dataclasses
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orthoedge.clinic.archive.inputs.read_ahead import Content, read_ahead
from orthoedge.clinic.archive.inputs.sources import ArchiveInput
from orthoedge.clinic.archive.rows import ArchiveRow
from orthoedge.clinic.archive.store import Store
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DeadlineExceeded, EngineError, InputError

if TYPE_CHECKING:
    from orthoedge.runtime import SandboxLimits
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph
    from orthoedge.runtime.pipeline import Pipeline
    from orthoedge.runtime.settings import BundleTrust

__all__ = [
    "Share",
    "ShareResult",
    "Worker",
    "WorkerSettings",
    "failed_row",
    "open_worker",
    "run_share",
    "write_rows",
]

Share = tuple[ArchiveInput, ...]


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is given."""

    store: Store
    token: str
    """Of the run, from `Store.opened`."""
    bundle: Path | None
    """Folder or .zip, at the same place on every machine; None for the package's own."""
    bundle_sha256: str
    trust: BundleTrust
    target: str
    precision: Literal["int8", "fp32", "fp16"]
    threads: int
    cache: Path | None
    isolate: bool
    """Decode in a sandboxed process."""
    time_s: float
    """Seconds that decoding one file may take, where it is isolated."""
    memory_mb: float
    """MiB that decoding one file may take."""
    read_ahead_bytes: int
    authorization: Path | None
    """File that holds the `Authorization` header for a DICOMweb service."""
    maps: bool
    """Keep the saliency map in each row."""
    version: str = metadata.version("orthoedge")
    """Of orthoedge, where the run began."""


@dataclass(frozen=True)
class ShareResult:
    """What became of one share, whose part is written."""

    done: int
    failed: int
    """Of those done, inputs without an answer."""


class _EarlyReader:
    """Has the sandbox decode a file before the pipeline asks for it, while another is inferred.

    Otherwise this process and the sandbox would wait for each other, twice for each file. The
    sandbox starts while the engine is opened.
    """

    def __init__(self, limits: SandboxLimits) -> None:
        from orthoedge.runtime import SandboxedReader

        self._thread = ThreadPoolExecutor(1, "orthoedge-sandbox")
        self._sandbox = self._thread.submit(SandboxedReader, limits)
        self._begun: deque[tuple[bytes, Future[Radiograph]]] = deque()

    def await_start(self) -> None:
        """Wait until the sandbox can read; EngineError if it does not start."""
        self._sandbox.result()

    def begin(self, data: bytes) -> None:
        """Begin to read a file."""
        self._begun.append((data, self._thread.submit(self._sandbox.result(), data)))

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None = None) -> Radiograph:
        """Read one file; see `SandboxedReader`."""
        while self._begun:  # those before it were of a share that was given up
            data, future = self._begun.popleft()
            if data is source:
                return future.result()
        return self._sandbox.result()(source, memory_mb=memory_mb)


class Worker:
    """One engine on the bundle of the run.

    Raises:
        EngineError: the engine cannot be opened; or this worker is refused, because its bundle is
            another one, or its answers to the golden images are not those of the bundle.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        from orthoedge.runtime import SandboxLimits, read_image
        from orthoedge.targets import CallLimits, EngineOptions, check_engine, open_pipeline

        self._settings = settings
        self._host = socket.gethostname()
        limits = SandboxLimits(settings.time_s, settings.memory_mb)
        self._early = _EarlyReader(limits) if settings.isolate else None
        pipeline = open_pipeline(
            settings.bundle,
            target=settings.target,
            precision=settings.precision,
            engine=EngineOptions(settings.threads, settings.cache),
            limits=CallLimits(memory_mb=settings.memory_mb),
            trust=settings.trust,
            reader=self._early or read_image,
        )
        found = pipeline.bundle.sha256
        if found != settings.bundle_sha256:
            raise self._refuse(
                f"its bundle has SHA-256 {found[:16]}…, the run's {settings.bundle_sha256[:16]}…"
            )
        if (version := metadata.version("orthoedge")) != settings.version:
            raise self._refuse(f"it has orthoedge {version}, the run {settings.version}")
        for check in check_engine(pipeline.bundle, pipeline.engine):
            if not check.passed:
                raise self._refuse(f"its answers to the golden images differ: {check}")
        self._pipeline: Pipeline = pipeline
        if self._early is not None:
            self._early.await_start()

    def _refuse(self, reason: str) -> EngineError:
        return EngineError(f"worker on {self._host} refused: {reason}")

    def describe(self) -> str:
        """Machine, engine, precision and instruction set in one line."""
        engine = self._pipeline.engine
        return f"{self._host}: {engine.name} {engine.version} {engine.precision} ({engine.isa})"

    def begin(self, content: Content) -> None:
        """Begin to decode an input that is answered soon, where that is done in the sandbox."""
        if self._early is not None and content.error is None:
            self._early.begin(content.data)

    def answer(self, content: Content) -> ArchiveRow:
        """Answer one input.

        Raises:
            EngineError: the engine failed, so that no other input can be answered either.
            MissingDependency: this machine lacks a decoder, which is no fault of the file.
        """
        try:
            if content.error is not None:
                raise content.error
            radiograph, finding = self._pipeline.predict_with_image(content.data)
        except (InputError, DeadlineExceeded, MemoryError) as error:
            reason = " ".join(str(error).split()) or "not enough memory"
            row = failed_row(content.item, reason)
            return dataclasses.replace(row, file_sha256=content.file_sha256)
        return self._row(content, radiograph, finding)

    def _row(self, content: Content, radiograph: Radiograph, finding: Finding) -> ArchiveRow:
        verdict, item = finding.verdict, content.item
        height, width = radiograph.pixels.shape
        return ArchiveRow(
            input=item.name,
            source=item.source,
            truth=item.truth or None,
            label=verdict.label,
            probabilities=verdict.probabilities,
            label_set=verdict.label_set,
            decision=verdict.decision,
            reasons=verdict.reasons,
            out_of_distribution=verdict.out_of_distribution,
            notes=finding.notes,
            saliency_map=finding.saliency_map.tolist() if self._settings.maps else None,
            height=height,
            width=width,
            pixels_sha256=sha256(radiograph.pixels.data),
            file_sha256=content.file_sha256,
            provenance=finding.provenance,
            host=self._host,
            finished_at=_now(),
            timing_ms=finding.timing_ms,
        )


def failed_row(item: ArchiveInput, reason: str) -> ArchiveRow:
    """The row of an input that has no answer."""
    return ArchiveRow(
        input=item.name,
        source=item.source,
        truth=item.truth or None,
        error=reason,
        host=socket.gethostname(),
        finished_at=_now(),
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)


@lru_cache(maxsize=1)
def open_worker(settings: WorkerSettings) -> Worker:
    """The worker of this process; opened once."""
    return Worker(settings)


def run_share(settings: WorkerSettings, share: Share) -> ShareResult:
    """Answer the inputs of a share, and write its part.

    Raises:
        EngineError: as `Worker`; the engine failed twice; or another run has taken the store over.
        MissingDependency: this machine lacks a decoder.
        OSError: the part cannot be written, or the file server is away.
        DestinationError: the DICOMweb service is away.
    """
    open_worker(settings)
    contents = read_ahead(share, settings.read_ahead_bytes, settings.authorization)
    with closing(contents):  # type: ignore[type-var]
        rows = [_answer(settings, content) for content in _begun(settings, contents)]
    return write_rows(settings, rows)


def _begun(settings: WorkerSettings, contents: Iterable[Content]) -> Iterator[Content]:
    """Yield each content once the one after it is begun."""
    waiting: deque[Content] = deque()
    for content in contents:
        open_worker(settings).begin(content)
        waiting.append(content)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _answer(settings: WorkerSettings, content: Content) -> ArchiveRow:
    """Answer one input; where the engine or the sandbox fails, once more with new ones."""
    try:
        return open_worker(settings).answer(content)
    except EngineError:
        open_worker.cache_clear()
        return open_worker(settings).answer(content)


def write_rows(settings: WorkerSettings, rows: Sequence[ArchiveRow]) -> ShareResult:
    """Write the part of a share."""
    settings.store.write_part(rows, settings.token)
    return ShareResult(len(rows), sum(row.error is not None for row in rows))
