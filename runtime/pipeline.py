"""One radiograph in, one finding out: reading, preprocessing, one forward pass, the decision."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.bundles.manifest import Calibration
from orthoedge.runtime.decision import OodScore, decide
from orthoedge.runtime.engine import Deadline, Engine, Inference, Outputs, ProcessGuard
from orthoedge.runtime.errors import DeadlineExceeded, EngineError, InputError, OrthoEdgeError
from orthoedge.runtime.finding import Finding, Provenance, Thresholds, Timing
from orthoedge.runtime.image_io.radiograph import Plane, Radiograph, ReasonId
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import QualityIssue
from orthoedge.runtime.lesions.measure import measure_lesions
from orthoedge.runtime.lesions.wording import caveat_of, seen_of
from orthoedge.runtime.preparation.native import find_native_library, preparation_name
from orthoedge.runtime.preparation.prepare import prepare_image
from orthoedge.runtime.preprocess import LetterboxTransform, Pixels
from orthoedge.runtime.settings import CallLimits, reads_old_form

__all__ = ["ActiveEngine", "Finding", "Pipeline", "Reader"]


class Reader(Protocol):
    """Reads a file: `read_image`, a `SandboxedReader`, or a function of your own."""

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None) -> Radiograph:
        """Read a file, or the content of one.

        Args:
            source: a path, or the content of the file.
            memory_mb: MiB that it may take; None for no limit.

        Raises:
            InputError: not a usable radiograph, or not within `memory_mb`.
        """


@dataclass(frozen=True)
class ActiveEngine:
    """An opened engine with its calibration, thresholds and provenance.

    Replaced as one object, so that no finding mixes the engine that failed with the one that took
    over.
    """

    engine: Engine
    calibration: Calibration
    ood_score: OodScore
    thresholds: Thresholds
    provenance: Provenance

    @classmethod
    def for_bundle(cls, bundle: Bundle, engine: Engine, fallback_reason: str = "") -> ActiveEngine:
        """Take the calibration that the bundle has for the model that the engine runs.

        Args:
            bundle: labels and calibration.
            engine: an engine opened on one of that bundle's models.
            fallback_reason: why this engine replaces the requested one; empty if it does not.
        """
        manifest = bundle.manifest
        calibration = manifest.calibration_for(manifest.key_of(engine))
        return cls(
            engine=engine,
            calibration=calibration,
            ood_score=OodScore(calibration.out_of_distribution),
            thresholds=Thresholds(
                temperature=calibration.temperature,
                conformal_quantile=calibration.conformal_quantile,
                operating_points=calibration.operating_points,
                out_of_distribution=calibration.out_of_distribution.threshold,
                out_of_distribution_reject=calibration.out_of_distribution.reject,
            ),
            provenance=Provenance(
                bundle=manifest.name,
                bundle_version=manifest.version,
                bundle_sha256=bundle.sha256,
                engine=engine.name,
                engine_version=engine.version,
                precision=engine.precision,
                isa=engine.isa,
                threads=engine.threads,
                fallback=fallback_reason,
                model_sha256=getattr(engine, "model_sha256", ""),
                preprocessing=preparation_name(),
            ),
        )


class _Prepared(NamedTuple):
    """What inference and decision need of a radiograph; not its own pixels."""

    model_input: Pixels
    placement: LetterboxTransform
    issues: tuple[QualityIssue, ...]
    statistics: npt.NDArray[np.float32]
    notes: tuple[str, ...]
    spacing_mm: tuple[float, float] | None
    spacing_plane: Plane | None
    read_ms: float
    preprocess_ms: float


class _Begun(NamedTuple):
    """A radiograph whose inference was begun, and the engine that runs it."""

    prepared: _Prepared
    inference: Inference
    active: ActiveEngine


_Result = _Begun | Finding | OrthoEdgeError


def _abandon(result: _Result | Future[_Result]) -> None:
    """End an inference that was begun, so that its memory is free."""
    if isinstance(result, Future):
        if result.cancelled() or result.exception() is not None:
            return
        result = result.result()
    if isinstance(result, _Begun):
        result.inference.abandon()


class Pipeline:
    """Callable on a path, on the bytes of a file, or on a radiograph uint8 (H, W).

    Threads may share one; a finding does not depend on what other threads do. A child process
    cannot use the pipeline of its parent: after a fork, open one in the child.

    Args:
        bundle: labels, preprocessing and thresholds.
        engine: an engine opened on one of that bundle's models.
        limits: deadline of a call, and memory that reading one file may take.
        reader: reads files; `SandboxedReader()` decodes them in a child process, and
            `functools.partial(read_image, max_pixels=...)` changes a setting of `read_image`.
        fallback: opens a second engine. If `engine` raises EngineError, the failing call and all
            later calls use it, and every later finding records the reason. None disables fallback.
        fallback_reason: why `engine` replaces the requested one; recorded in every finding.

    Raises:
        EngineError: orthoedge-native is installed and cannot be used.
    """

    @reads_old_form()
    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        limits: CallLimits = CallLimits(),
        reader: Reader = read_image,
        fallback: Callable[[], Engine] | None = None,
        fallback_reason: str = "",
    ) -> None:
        self.bundle = bundle
        self._limits = limits
        self._shapes = bundle.manifest.graph.shapes(1)
        self._reader = reader
        self._open_fallback = fallback
        self._switching = threading.Lock()
        self._process = ProcessGuard()
        self._library = find_native_library()
        self._active = ActiveEngine.for_bundle(bundle, engine, fallback_reason)

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        return self._active.engine

    @property
    def read(self) -> Reader:
        """The reader. Setting it is deprecated: pass `reader=` to the constructor."""
        return self._reader

    @read.setter
    def read(self, reader: Reader) -> None:
        warnings.warn("pass reader= to the constructor", DeprecationWarning, stacklevel=2)
        self._reader = reader

    def predict(self, source: Path | str | bytes | Pixels) -> Finding:
        """Predict one radiograph.

        Args:
            source: a path, the content of a file, or uint8 (H, W), bone bright on dark.

        Raises:
            InputError: not a radiograph this tool can read, or not within `memory_mb`.
            EngineError: the engine failed, its outputs do not fit the bundle, or this process was
                forked from the one that opened the pipeline.
            DeadlineExceeded: it took longer than `deadline_ms`. The next call works.
            MissingDependency: a DICOM file, and pydicom or its decoder is absent.
        """
        return self.predict_with_image(source)[1]

    __call__ = predict

    def map_results(
        self, sources: Iterable[Path | str | bytes | Pixels], workers: int
    ) -> Generator[Finding | OrthoEdgeError, None, None]:
        """Predict many radiographs: the next ones are read while earlier ones are inferred.

        x86 infers in threads of its own, as many at once as its options have `streams`. Other
        engines, and calls with a deadline, infer where the radiograph is read. Errors are yielded,
        not raised, so that one bad file does not end the iteration.

        Args:
            sources: as for `predict`; read one by one, at most 2 × (`workers` + 1) ahead of what
                was yielded. Of each of those the model input is kept, not the picture.
            workers: threads that read and prepare. With 1 the calling thread does, which is the
                fastest where the engine has all cores but one; with more it only decides.

        Yields:
            For each source, in order, its finding or the OrthoEdgeError that `predict` raises.
        """
        process = ProcessGuard()  # a child that goes on with it has none of the threads
        pool = ThreadPoolExecutor(workers, "orthoedge") if workers != 1 else None
        pending: deque[_Result | Future[_Result]] = deque()
        try:
            for source in sources:
                process.check()
                pending.append(pool.submit(self._begin, source) if pool else self._begin(source))
                if len(pending) == 2 * (workers + 1):
                    yield self._end(pending)
            while pending:
                process.check()
                yield self._end(pending)
        finally:
            if process.is_own:  # a thread of the parent may hold a future's lock for ever
                if pool is not None:
                    pool.shutdown(cancel_futures=True)  # the consumer may have stopped early
                for result in pending:
                    _abandon(result)

    def map(
        self, sources: Iterable[Path | str | bytes | Pixels], workers: int
    ) -> Iterator[Finding | OrthoEdgeError]:
        """Deprecated name of `map_results`."""
        warnings.warn("Pipeline.map is now map_results", DeprecationWarning, stacklevel=2)
        return self.map_results(sources, workers)

    def _begin(self, source: Path | str | bytes | Pixels) -> _Result:
        """Read a source and begin its inference, or predict it where the engine cannot do that."""
        active = self._active
        begin = getattr(active.engine, "begin", None)
        try:
            if begin is None or self._limits.deadline_ms is not None:
                return self.predict(source)
            self._process.check()
            _, prepared = self._prepare(source)
            try:
                return _Begun(prepared, begin(prepared.model_input[None, None]), active)
            except EngineError as error:
                return self._fall_back(error, active, prepared)
        except OrthoEdgeError as error:
            return error
        except OSError as error:
            return InputError.unreadable(error)
        except MemoryError:
            return InputError("not enough memory")

    def _end(self, pending: deque[_Result | Future[_Result]]) -> Finding | OrthoEdgeError:
        """Wait for the first of `pending`, and remove it once its inference has ended."""
        first = pending[0]
        begun = first.result() if isinstance(first, Future) else first
        if not isinstance(begun, _Begun):
            pending.popleft()
            return begun
        prepared, inference, active = begun
        result: Finding | OrthoEdgeError
        try:
            try:
                outputs, inference_ms = inference.result()
                self._check(outputs, active.engine)
            except EngineError as error:
                result = self._fall_back(error, active, prepared)
            else:
                result = self._decide(prepared, outputs, active, inference_ms)
        except OrthoEdgeError as error:
            result = error
        pending.popleft()
        return result

    def _fall_back(self, error: EngineError, failed: ActiveEngine, prepared: _Prepared) -> Finding:
        """Predict with the engine that takes over; raise `error` where there is none."""
        start = time.perf_counter()
        outputs, active = self._run_fallback(error, failed, prepared.model_input)
        return self._decide(prepared, outputs, active, (time.perf_counter() - start) * 1e3)

    def predict_with_image(self, source: Path | str | bytes | Pixels) -> tuple[Radiograph, Finding]:
        """Predict one radiograph, and return it as it was read, for drawing the map on it.

        Raises:
            OrthoEdgeError: as `predict`.
        """
        self._process.check()
        limits = self._limits
        deadline = None
        if limits.deadline_ms is not None:
            deadline = Deadline(limits.deadline_ms, time.perf_counter())
        radiograph, prepared = self._prepare(source, deadline)
        start = time.perf_counter()
        outputs, active = self._infer(prepared.model_input, deadline)
        inference_ms = (time.perf_counter() - start) * 1e3
        finding = self._decide(prepared, outputs, active, inference_ms)
        if deadline is not None:
            deadline.check("the decision")
        return radiograph, finding

    def _prepare(
        self, source: Path | str | bytes | Pixels, deadline: Deadline | None = None
    ) -> tuple[Radiograph, _Prepared]:
        """Read and preprocess a source, and check its quality."""
        start = time.perf_counter()
        manifest = self.bundle.manifest
        if isinstance(source, np.ndarray):
            radiograph = Radiograph(pixels=source, source_bits=8, spacing_mm=None, notes=())
        else:
            radiograph = self._reader(source, memory_mb=self._limits.memory_mb)
        read = time.perf_counter()
        if deadline is not None:
            deadline.check("reading")
        image = prepare_image(radiograph.pixels, manifest.preprocess, self._library)
        reason_ids = chain(
            radiograph.refer_reason_ids, repeat(ReasonId())
        )  # a reader may have none
        issues = (
            *(
                QualityIssue(reason, "refer", identifier)
                for reason, identifier in zip(radiograph.refer_reasons, reason_ids, strict=False)
            ),
            *image.quality_issues,
        )
        return radiograph, _Prepared(
            image.model_input,
            image.placement,
            issues,
            image.statistics,
            radiograph.notes,
            radiograph.spacing_mm,
            radiograph.spacing_plane,
            (read - start) * 1e3,
            (time.perf_counter() - read) * 1e3,
        )

    def _decide(
        self, prepared: _Prepared, outputs: Outputs, active: ActiveEngine, inference_ms: float
    ) -> Finding:
        """Make the finding from the outputs of the engine that ran."""
        start = time.perf_counter()
        manifest = self.bundle.manifest
        verdict = decide(
            outputs.logits[0],
            active.ood_score(outputs.feature_vector[0], prepared.statistics),
            prepared.issues,
            manifest.labels,
            manifest.alert_labels,
            active.calibration,
        )
        label = manifest.labels.index(verdict.label)
        lesions = None
        if outputs.lesion_mask is not None and verdict.decision != "reject":
            lesions = measure_lesions(
                outputs.lesion_mask[0, 0],
                prepared.placement,
                manifest.graph.size,
                prepared.spacing_mm,
                prepared.spacing_plane,
            )
        outline_notes = caveat_of(lesions or ())
        if manifest.graph.region_size and lesions is not None:
            assert outputs.lesion_mask is not None
            outline_notes = (seen_of(outputs.lesion_mask), *outline_notes)
        return Finding(
            verdict=verdict,
            saliency_map=outputs.saliency_map[0, label],
            placement=prepared.placement,
            input_size=manifest.graph.size,
            notes=(*prepared.notes, *active.engine.notes, *outline_notes),
            notice=manifest.intended_use,
            thresholds=active.thresholds,
            provenance=active.provenance,
            timing_ms=Timing(
                read=prepared.read_ms,
                preprocess=prepared.preprocess_ms,
                inference=inference_ms,
                decide=(time.perf_counter() - start) * 1e3,
            ),
            lesions=lesions,
        )

    def _infer(
        self, model_input: Pixels, deadline: Deadline | None
    ) -> tuple[Outputs, ActiveEngine]:
        """Run one forward pass of uint8 (S, S); also return the engine that ran it."""
        active = self._active
        if deadline is not None:
            deadline.check("preprocessing")
        try:
            return self._run(active.engine, model_input, deadline), active
        except EngineError as error:
            return self._run_fallback(error, active, model_input, deadline)

    def _run_fallback(
        self,
        error: EngineError,
        failed: ActiveEngine,
        model_input: Pixels,
        deadline: Deadline | None = None,
    ) -> tuple[Outputs, ActiveEngine]:
        """Run the engine that takes over from `failed`; raise its `error` where there is none."""
        fallback = self._switch_to_fallback(failed, error)
        if fallback is None:
            raise error
        if deadline is not None:
            deadline.check("opening the fallback engine")
        return self._run(fallback.engine, model_input, deadline), fallback

    def _switch_to_fallback(self, failed: ActiveEngine, error: EngineError) -> ActiveEngine | None:
        """Replace `failed` for all threads; None where there is no fallback."""
        with self._switching:
            if self._active is not failed:
                return self._active
            if self._open_fallback is None:
                return None
            try:
                engine = self._open_fallback()
            except OrthoEdgeError as second:
                raise EngineError(f"{error}; and the fallback engine: {second}") from second
            self._open_fallback = None
            self._active = ActiveEngine.for_bundle(self.bundle, engine, str(error))
            return self._active

    def _run(self, engine: Engine, model_input: Pixels, deadline: Deadline | None) -> Outputs:
        """Run one engine and check its outputs."""
        if deadline is None:
            outputs = engine.run(model_input[None, None])
        else:
            try:
                outputs = engine.run(model_input[None, None], deadline.left_s())
            except DeadlineExceeded as error:
                raise deadline.exceeded("inference") from error
            deadline.check("inference")
        self._check(outputs, engine)
        return outputs

    def _check(self, outputs: Outputs, engine: Engine) -> None:
        """Raise EngineError unless the outputs are finite and of the manifest's shapes."""
        shapes = {name: array.shape for name, array in outputs.tensors().items()}
        if shapes != self._shapes:
            raise EngineError(
                f"{engine.name}: outputs of shapes {shapes} are not those of the manifest; "
                "run orthoedge verify"
            )
        if not np.isfinite(outputs.logits).all():
            raise EngineError(f"{engine.name}: logits are not finite; run orthoedge verify")
        if outputs.lesion_mask is not None and not np.isfinite(outputs.lesion_mask).all():
            raise EngineError(f"{engine.name}: the mask is not finite; run orthoedge verify")
