"""Whether the engine still answers a golden image of the bundle as it did at the start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orthoedge.runtime.errors import EngineError

if TYPE_CHECKING:
    from orthoedge.runtime.engine import Engine
    from orthoedge.runtime.pipeline import Pipeline

__all__ = ["GoldenCheck"]


class GoldenCheck:
    """Answers golden images, as docs/embed/embedding.md asks of a program that stays up.

    At the start all of them, within the tolerances of the bundle; later the first one alone, whose
    logits must be the same bytes. An engine that replaced a failed one starts again.

    Args:
        pipeline: whose engine is checked.
        every_s: seconds between two checks.
    """

    def __init__(self, pipeline: Pipeline, every_s: float) -> None:
        self._pipeline = pipeline
        self._every_s = every_s
        self._engine: Engine | None = None
        self._logits = b""
        self._due_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether it is time for the next check."""
        return time.monotonic() >= self._due_at

    def check(self) -> None:
        """Check the engine.

        Raises:
            EngineError: it failed, or an answer is not what it should be.
        """
        image = self._pipeline.bundle.golden_images()[:1]
        self._pipeline.predict(image[0, 0])  # changes to the fallback if the engine fails
        engine = self._pipeline.engine
        if engine is not self._engine:
            self._check_all(engine)
        logits = engine.run(image).logits.tobytes()
        if engine is not self._engine:
            self._engine, self._logits = engine, logits
        elif logits != self._logits:
            raise EngineError(
                f"{engine.name}: a golden image has another answer than at the start; if this "
                "comes again, take the machine out of service"
            )
        self._due_at = time.monotonic() + self._every_s

    def _check_all(self, engine: Engine) -> None:
        from orthoedge.targets.verification import check_engine

        for check in check_engine(self._pipeline.bundle, engine):
            if not check.passed:
                raise EngineError(f"{check}; run orthoedge verify")
