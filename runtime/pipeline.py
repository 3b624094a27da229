"""A radiograph in, a finding out: intake, preprocessing, one forward pass, decision."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.bundles.manifest import Calibration
from orthoedge.runtime.decision import OodScore, decide
from orthoedge.runtime.engine import Deadline, Engine, Outputs
from orthoedge.runtime.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineError,
    OrthoEdgeError,
)
from orthoedge.runtime.finding import Finding, Provenance, Thresholds, Timing
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import check_image_quality
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Pixels

__all__ = ["ActiveEngine", "Finding", "Pipeline", "Reader"]


class Reader(Protocol):
    """Reads a file, as `intake.read_image` and `isolation.IsolatedReader` do."""

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None) -> Radiograph:
        """Raises as `intake.read_image`."""


@dataclass(frozen=True)
class ActiveEngine:
    """An opened engine with its calibration, thresholds and provenance.

    Replaced as one object, so that no finding mixes two engines.
    """

    engine: Engine
    calibration: Calibration
    distance: OodScore
    thresholds: Thresholds
    provenance: Provenance

    @classmethod
    def for_bundle(cls, bundle: Bundle, engine: Engine, fallback_reason: str = "") -> ActiveEngine:
        """Take the calibration that the bundle has for the engine's precision.

        Args:
            bundle: labels and calibration.
            engine: an engine opened on one of that bundle's models.
            fallback_reason: why this engine replaces the requested one; empty if it does not.
        """
        manifest = bundle.manifest
        calibration = manifest.calibration_for(engine.precision)
        return cls(
            engine=engine,
            calibration=calibration,
            distance=OodScore(calibration.out_of_distribution),
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
            ),
        )


class Pipeline:
    """Callable on a path, on the bytes of a file, or on a radiograph uint8 (H, W).

    Threads may share one; each answer is what it would be alone.

    Args:
        bundle: labels, preprocessing and thresholds.
        engine: an engine opened on one of that bundle's models.
        fallback: why this engine runs in place of the one asked for; goes into every finding.
        deadline_ms: milliseconds that one call may take; None for as long as it takes. It is
            looked at after each stage and within inference: a file that is being decoded is not
            interrupted, unless an `IsolatedReader` reads it.
        memory_mb: MiB that reading one file may take, as estimated from its header before it is
            decoded; None for no limit but that of the size in pixels. An array is the caller's.
        spare: opens the engine that takes over for good once `engine` fails, the call that it
            failed in included; every later finding says why. None for none.

    Raises:
        RecipeError: `deadline_ms` or `memory_mb` is not above 0.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        fallback: str = "",
        deadline_ms: float | None = None,
        memory_mb: float | None = None,
        spare: Callable[[], Engine] | None = None,
    ) -> None:
        for name, limit in (("deadline_ms", deadline_ms), ("memory_mb", memory_mb)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {limit}")
        self.bundle = bundle
        self._deadline_ms = deadline_ms
        self._memory_mb = memory_mb
        self._spare = spare
        self._taking_over = threading.Lock()
        self._running = ActiveEngine.for_bundle(bundle, engine, fallback)
        self.read: Reader = read_image
        """How files are read; an `IsolatedReader` in its place does it in a child process."""

    @property
    def engine(self) -> Engine:
        """What runs now."""
        return self._running.engine

    def __call__(self, source: Path | str | bytes | Pixels) -> Finding:
        """Predict one radiograph.

        Raises:
            InputError: not a radiograph this tool can read, or not within `memory_mb`.
            EngineError: the engine failed, or its outputs do not fit the bundle.
            DeadlineExceeded: it took longer than `deadline_ms`. The next call works.
        """
        return self.predict(source)[1]

    def map(
        self, sources: Iterable[Path | str | bytes | Pixels], workers: int
    ) -> Iterator[Finding | OrthoEdgeError]:
        """Predict many radiographs in threads: reading, preprocessing and inference overlap.

        Args:
            sources: as for a call; taken one by one, at most 2 × `workers` ahead of what was
                yielded.
            workers: how many are worked on at once.

        Yields:
            For each source in its turn the finding, or the error that a call would have raised.
        """
        with ThreadPoolExecutor(workers, "orthoedge") as pool:
            waiting: deque[Future[Finding | OrthoEdgeError]] = deque()
            try:
                for source in sources:
                    waiting.append(pool.submit(self._answer, source))
                    if len(waiting) == 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:  # the consumer may have had enough
                for future in waiting:
                    future.cancel()

    def _answer(self, source: Path | str | bytes | Pixels) -> Finding | OrthoEdgeError:
        try:
            return self(source)
        except OrthoEdgeError as error:
            return error

    def predict(self, source: Path | str | bytes | Pixels) -> tuple[Radiograph, Finding]:
        """As a call, with the radiograph as it was read, for drawing the map on it."""
        start = time.perf_counter()
        deadline = None if self._deadline_ms is None else Deadline(self._deadline_ms, start)
        if isinstance(source, np.ndarray):
            radiograph = Radiograph(pixels=source, source_bits=8, spacing_mm=None, notes=())
        else:
            radiograph = self.read(source, memory_mb=self._memory_mb)
        read = time.perf_counter()
        if deadline is not None:
            deadline.check("reading")
        square, placement = self.bundle.manifest.preprocess.prepare(radiograph.pixels)
        faults = check_image_quality(radiograph.pixels, placement, self.bundle.manifest.graph.size)
        glance = image_statistics(square)  # now, while the square is in the processor's cache
        prepared = time.perf_counter()
        outputs, ran = self._infer(square, deadline)
        inferred = time.perf_counter()
        verdict = decide(
            outputs.logits[0],
            ran.distance(outputs.feature_vector[0], glance),
            faults,
            self.bundle.manifest.labels,
            self.bundle.manifest.alert_labels,
            ran.calibration,
        )
        label = self.bundle.manifest.labels.index(verdict.label)
        done = time.perf_counter()
        if deadline is not None:
            deadline.check("the decision")
        finding = Finding(
            verdict=verdict,
            saliency_map=outputs.saliency_map[0, label],
            placement=placement,
            input_size=self.bundle.manifest.graph.size,
            notes=(*radiograph.notes, *ran.engine.notes),
            notice=self.bundle.manifest.intended_use,
            thresholds=ran.thresholds,
            provenance=ran.provenance,
            timing_ms=Timing(
                read=(read - start) * 1e3,
                preprocess=(prepared - read) * 1e3,
                inference=(inferred - prepared) * 1e3,
                decide=(done - inferred) * 1e3,
            ),
        )
        return radiograph, finding

    def _infer(self, square: Pixels, deadline: Deadline | None) -> tuple[Outputs, ActiveEngine]:
        """Outputs of one pass over uint8 (S, S), and what they are of."""
        ran = self._running
        if deadline is not None:
            deadline.check("preprocessing")
        try:
            return self._pass(ran.engine, square, deadline), ran
        except EngineError as error:
            spared = self._take_over(ran, error)
            if spared is None:
                raise
        if deadline is not None:
            deadline.check("opening the spare engine")
        return self._pass(spared.engine, square, deadline), spared

    def _take_over(self, failed: ActiveEngine, error: EngineError) -> ActiveEngine | None:
        """What runs in place of `failed`, for all threads; None where there is no spare."""
        with self._taking_over:
            if self._running is not failed:
                return self._running
            if self._spare is None:
                return None
            try:
                engine = self._spare()
            except OrthoEdgeError as second:
                raise EngineError(f"{error}; and the spare engine: {second}") from second
            self._running, self._spare = (
                ActiveEngine.for_bundle(self.bundle, engine, str(error)),
                None,
            )
            return self._running

    def _pass(self, engine: Engine, square: Pixels, deadline: Deadline | None) -> Outputs:
        """Outputs of the manifest's shapes and finite."""
        if deadline is None:
            outputs = engine.run(square[None, None])
        else:
            try:
                outputs = engine.run(square[None, None], deadline.left_s())
            except DeadlineExceeded as error:
                raise deadline.exceeded("inference") from error
            deadline.check("inference")
        graph = self.bundle.manifest.graph
        arrays = (outputs.logits, outputs.saliency_map, outputs.feature_vector)
        found = tuple(array.shape for array in arrays)
        map_shape = (1, graph.classes, graph.map_height, graph.map_width)
        if found != ((1, graph.classes), map_shape, (1, graph.features)):
            raise EngineError(
                f"{engine.name}: outputs of shapes {found} are not those of the manifest; "
                "run orthoedge verify"
            )
        if not np.isfinite(outputs.logits).all():
            raise EngineError(f"{engine.name}: logits are not finite; run orthoedge verify")
        return outputs
