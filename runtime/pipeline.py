"""A radiograph in, a finding out: intake, preprocessing, one forward pass, decision."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.deadline import Deadline
from orthoedge.runtime.decision import decide
from orthoedge.runtime.engine import Engine, Outputs
from orthoedge.runtime.errors import DeadlineExceeded, EngineError, OrthoEdgeError, RecipeError
from orthoedge.runtime.finding import Finding, Timing
from orthoedge.runtime.intake import Radiograph, read_image
from orthoedge.runtime.look import look
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.running import Running, set_up
from orthoedge.runtime.usable import find_faults

__all__ = ["Finding", "Pipeline", "Reader"]


class Reader(Protocol):
    """Reads a file, as `intake.read_image` and `isolation.IsolatedReader` do."""

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None) -> Radiograph:
        """Raises as `intake.read_image`."""


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
                raise RecipeError(f"{name}: expected a number above 0, got {limit}")
        self.bundle = bundle
        self._deadline_ms = deadline_ms
        self._memory_mb = memory_mb
        self._spare = spare
        self._taking_over = threading.Lock()
        self._running = set_up(bundle, engine, fallback)
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
        faults = find_faults(radiograph.pixels, placement, self.bundle.manifest.graph.size)
        glance = look(square)  # now, while the square is in the processor's cache
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

    def _infer(self, square: Pixels, deadline: Deadline | None) -> tuple[Outputs, Running]:
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

    def _take_over(self, failed: Running, error: EngineError) -> Running | None:
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
            self._running, self._spare = set_up(self.bundle, engine, str(error)), None
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
